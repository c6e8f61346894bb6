"""For the API page: the comment beside a field of a class is its docstring."""

from typing import Any

import griffe


class Fields(griffe.Extension):
    """Gives an annotated field of a class, which has no docstring, the comment on its last line, or else its type."""

    def on_attribute(self, *, attr: griffe.Attribute, **_: Any) -> None:
        """Add the docstring to an attribute that was loaded."""
        if attr.docstring or attr.annotation is None or not (attr.parent and attr.parent.is_class and attr.lines):
            return
        comment = attr.lines[-1].partition("  # ")[2]
        attr.docstring = griffe.Docstring(comment or f"`{attr.annotation}`", parent=attr, lineno=attr.endlineno)
