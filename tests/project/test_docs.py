"""The site: its size, its figures, and that nothing in it leads nowhere."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.helpers import ROOT
from wm_envs.worlds.bundle import shipped_worlds

DOCS = ROOT / "docs"
LOG = [page for page in sorted((DOCS / "experiments").glob("*.md")) if page.name != "index.md"]
spec = importlib.util.spec_from_file_location("results_hook", DOCS / "hooks/results.py")
assert spec and spec.loader
results = importlib.util.module_from_spec(spec)
spec.loader.exec_module(results)


def groups() -> dict[str, list[str]]:
    """The groups of the navigation, and the pages of each."""
    nav = (ROOT / "mkdocs.yml").read_text().partition("\nnav:\n")[2]
    parts = re.split(r"^  - (\w+):", nav, flags=re.MULTILINE)[1:]
    return {name: re.findall(r"(\S+\.md)", pages) for name, pages in zip(parts[::2], parts[1::2], strict=True)}


def words(page: str) -> list[str]:
    """The words of a page as a reader sees it, without code, tables' lines and addresses."""
    text = results.on_page_markdown((DOCS / page).read_text())
    text = re.sub(r"```.*?```|`[^`]*`|\]\([^)]*\)|\{[^}]*\}|https?://\S+", " ", text, flags=re.DOTALL)
    return re.findall(r"[\w.,+%'-]*\w[\w.,+%'-]*", text)


def test_the_site_has_five_groups_and_is_short() -> None:
    assert list(groups()) == ["Start", "Guides", "Ideas", "Results", "Reference"]
    written = [page for group, pages in groups().items() if group != "Reference" for page in pages]
    assert len(written) <= 16  # the reference is made from docstrings
    assert sum(len((DOCS / page).read_text().split()) for pages in groups().values() for page in pages) <= 15_000


@pytest.mark.parametrize("page", [page for group in ("Start", "Guides", "Ideas") for page in groups()[group]])
def test_a_page_is_text_and_not_a_table_of_figures(page: str) -> None:
    figures = [word for word in words(page) if re.match(r"[+-]?\d", word)]
    assert len(figures) <= 5 * len(words(page)) / 100, figures


@pytest.mark.parametrize("page", LOG, ids=lambda page: page.stem)
def test_the_log_says_when_and_how(page: Path) -> None:
    """The first paragraph has the date, the commit and the command; each page has a conclusion and is listed."""
    text = page.read_text()
    head = next(part for part in text.split("\n\n") if not part.startswith("#"))
    assert re.match(r"\d{1,2} \w+ 2026, commits? [0-9a-f]{7}.*`python ", head)
    assert "**Conclusion: " in text and f"({page.name})" in (DOCS / "experiments/index.md").read_text()


def test_figures_are_complete() -> None:
    for name, figure in results.FIGURES.items():
        assert isinstance(figure["value"], (int, float)) and figure["unit"], name
        if "source" not in figure:
            assert re.fullmatch(r"[0-9a-f]{7}", figure["commit"]) and re.fullmatch(r"2026-\d\d-\d\d", figure["date"])
            program = figure["command"].split()[1]  # tests/training/test_command_line.py parses those of modules
            assert program == "-m" or (ROOT / program).exists(), name


def test_every_figure_is_used_and_every_mark_is_known() -> None:
    pages = "".join(page.read_text() for page in [*DOCS.rglob("*.md"), ROOT / "README.md"])
    marks = {name for name, _ in results.MARK.findall(pages)} | set(re.findall(r"<!-- result: (\S+) -->", pages))
    cards = {name for name in results.FIGURES if ".card." in name or name.endswith(".bfloat16")}
    assert marks | cards == set(results.FIGURES)


def test_the_readme_has_the_figures() -> None:
    text = (ROOT / "README.md").read_text().replace("**", "")
    marks = re.findall(r"([^|>\n]*?) ?<!-- result: (\S+) -->", text)
    assert marks and all(before.endswith(results.text(name)) for before, name in marks), marks
    unmarked = re.sub(r"[\d,.]+(?: \+- [\d,.]+)? ?\w* ?<!-- result: \S+ -->", "", text)
    assert not re.findall(r"\d[\d,.]* \+- \d+", unmarked)


@pytest.mark.parametrize("world", shipped_worlds())
def test_a_model_card_has_the_figures(world: str) -> None:
    name, card = world.replace("-", "_"), (ROOT / "wm_envs/pretrained" / world / "README.md").read_text()
    (line,) = re.findall(r"^- Real game.*$", card, re.MULTILINE)
    score = dict(re.findall(r"(mean|std|interval|p10|episodes) ([\d.]+)", line))
    key = f"{name}.dream_only.bfloat16" if world == "takecover-paper" else f"{name}.dream_only"
    figure = results.FIGURES[key]
    assert [round(float(score[field])) for field in ("mean", "std", "p10", "episodes")] == pytest.approx(
        [figure["value"], figure["std"], figure["p10"], figure["episodes"]], abs=0.51
    )
    low, high = figure["interval"]
    assert (high - low) / 2 == pytest.approx(float(score["interval"]), abs=1)
    spearman = re.search(r"Spearman ([\d.]+)", card)
    assert spearman and float(spearman[1]) in {
        results.FIGURES[f"{name}.{kind}.spearman"]["value"]
        for kind in ("card", "fidelity")
        if f"{name}.{kind}.spearman" in results.FIGURES
    }


def test_contributing_shows_the_folders() -> None:
    """All packages but the kinds of V and M, which are one level deeper."""
    tree = (ROOT / "CONTRIBUTING.md").read_text().partition("## Layout")[2].split("```")[1]
    shown = [Path()]
    for indent, name in re.findall(r"^( *)(\w+)/ ", tree, re.MULTILINE):
        shown.append(next(path for path in reversed(shown) if len(path.parts) <= len(indent) // 2) / name)
    assert all((ROOT / path).is_dir() for path in shown)
    packages = {
        path.parent.relative_to(ROOT) for top in ("wm_envs", "training") for path in ROOT.glob(f"{top}/**/__init__.py")
    }
    assert {path for path in packages if len(path.parts) <= 3} <= set(shown)


class Links(HTMLParser):
    """The addresses and the anchors of a page."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.addresses: set[str] = set()
        self.anchors: set[str] = {""}
        self.feed(page.read_text())

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        for name, value in attributes:
            if name in ("id", "name") and value:
                self.anchors.add(value)
            elif name in ("href", "src") and value:
                self.addresses.add(value)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("mkdocs")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_nothing_in_the_site_leads_nowhere(site: Path) -> None:
    """Every picture, link and anchor of every page exists."""
    pages = {page.resolve(): Links(page) for page in site.rglob("*.html")}
    missing = []
    for page, links in pages.items():
        for address in links.addresses:
            parts = urlsplit(address)
            if parts.scheme or parts.netloc or page.name == "404.html":
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            target = target / "index.html" if target.is_dir() else target
            known = pages[target].anchors if target in pages else {parts.fragment}
            if not target.exists() or parts.fragment not in known:
                missing.append(f"{page.relative_to(site)}: {address}")
    assert not missing


def test_the_site_has_the_figures(site: Path) -> None:
    assert "{{" not in "".join(page.read_text() for page in site.rglob("*.html"))
    assert json.loads((site / "results.json").read_text())["figures"] == results.FIGURES
    assert "1,600\u00a0\u00b1\u00a0585" in (site / "results/index.html").read_text()
