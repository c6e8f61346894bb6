"""For the API page: the doctests of a docstring are code, not quotations of quotations."""

import re
from typing import Any

import griffe


class Doctests(griffe.Extension):
    """Puts every run of lines that starts with `>>>` into a block of code."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of an object that was loaded."""
        if obj.docstring:
            obj.docstring.value = re.sub(
                r"^>>> (?:.+\n?)+", lambda run: f"```pycon\n{run[0].rstrip()}\n```\n", obj.docstring.value, flags=re.M
            )
