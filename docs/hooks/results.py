"""Pages take their figures from docs/results.json: `{{ result("takecover.dream_only") }}` becomes `1,600 +- 585`.

A second word names a field: `{{ result("takecover.dream_only", "interval") }}` becomes `1,543 to 1,657`.
"""

import json
import re
from pathlib import Path
from typing import Any

FIGURES: dict[str, dict[str, Any]] = json.loads((Path(__file__).parents[1] / "results.json").read_text())["figures"]
MARK = re.compile(r'\{\{ result\("([^"]+)"(?:, "(\w+)")?\) \}\}')


def text(name: str, field: str = "value") -> str:
    """A figure in words: its value with spread and unit, or one of its other fields."""
    figure = FIGURES[name]
    if field == "interval":
        return f"{figure['interval'][0]:,} to {figure['interval'][1]:,}"
    if field != "value":
        return f"{figure[field]:,}" if isinstance(figure[field], int) else f"`{figure[field]}`"
    spread = f" +- {figure['std']:,}" if "std" in figure else ""
    unit = {"minutes": " minutes", "GiB": " GiB", "%": "%"}.get(figure["unit"], "")
    return f"{figure['value']:,}{spread}{unit}"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace every mark of a page, and every `+-`, so that no line breaks within a figure."""
    markdown = MARK.sub(lambda mark: text(mark[1], mark[2] or "value"), markdown)
    return markdown.replace(" +- ", "\u00a0\u00b1\u00a0").replace("+- ", "\u00b1\u00a0")
