"""For the site that `make site` builds: the home page begins with a link to the page that plays a dream.

`make docs` builds the documentation alone, which has no such page and so no such link.
"""

import os
from typing import Any

FOLDER = "WM_ENVS_PLAY_NOW"  # environment variable: the folder of the page, within the site


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Add the link below the title of the home page."""
    folder = os.environ.get(FOLDER)
    if not folder or page.file.src_uri != "index.md":
        return markdown
    title, newline, rest = markdown.partition("\n")
    return f'{title}{newline}\n<a class="md-button md-button--primary" href="{folder}/index.html">Play now</a>\n{rest}'
