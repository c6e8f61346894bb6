"""The code in the README and in docs/ runs; all named commands and links exist."""

import re
from pathlib import Path

import pytest

from training.__main__ import STAGES

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
WITH_CODE = [page for page in PAGES if "```python" in page.read_text()]
name_of = lambda page: str(page.relative_to(ROOT))  # noqa: E731


@pytest.mark.parametrize("page", WITH_CODE, ids=name_of)
def test_python_code_runs(page: Path) -> None:
    pytest.importorskip("vizdoom")
    names: dict = {}
    for block in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL):
        exec(compile(block, str(page), "exec"), names)  # our own text, not data
    for name in ("env", "envs", "real", "drive"):
        if name in names:
            names[name].close()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_stages_and_links_exist(page: Path) -> None:
    text = page.read_text()
    assert set(re.findall(r"python -m training (\w+)", text)) <= set(STAGES)
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", text):
        assert (page.parent / target).exists(), target


def blocks(page: Path) -> list[str]:
    return re.findall(r"```.*?```", page.read_text(), re.DOTALL)


def test_home_has_the_lines_of_the_readme() -> None:
    readme, home = blocks(ROOT / "README.md"), blocks(ROOT / "docs/index.md")
    assert home[:2] == [block for block in readme if "git clone" in block or "gym.make" in block]


def test_readme_is_short() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.split()) <= 800
    assert sum(line.startswith("|") for line in text.splitlines()) <= 14
