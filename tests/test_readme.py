"""The README's code runs as it stands, and names only commands that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from training.__main__ import STAGES

README = (Path(__file__).parent.parent / "README.md").read_text()


def test_its_python_runs() -> None:
    pytest.importorskip("vizdoom")
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert blocks
    for block in blocks:
        names: dict = {}
        exec(compile(block, "README.md", "exec"), names)  # our own text, not data
        for name in ("env", "envs", "real"):
            if name in names:
                names[name].close()


def test_its_stages_exist_and_its_links_lead_somewhere() -> None:
    assert set(re.findall(r"python -m training (\w+)", README)) <= set(STAGES)
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (Path(__file__).parent.parent / target).exists(), target
