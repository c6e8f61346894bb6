"""Commands that install what is missing here, and the error for a real game that does not open."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from wm_envs.errors import MissingPackage, WorldModelError
from wm_envs.games.base import Task

ROOT = Path(__file__).parent.parent  # of a clone; of site-packages otherwise


def install_command(extra: str, root: Path = ROOT) -> str:
    """The command that installs an extra into the Python that runs now, from a clone or from an index.

    Paths below the current folder are relative: the command is short, and works where it was printed.
    """
    python = shlex.quote(_short(Path(sys.executable)))
    if not (root / "pyproject.toml").is_file():
        return f"{python} -m pip install {shlex.quote(f'wm-envs[{extra}]')}"
    constraints = root / "constraints.txt"
    pinned = f"-c {shlex.quote(_short(constraints))} " if constraints.is_file() else ""
    return f"{python} -m pip install {pinned}-e {shlex.quote(f'{_short(root)}[{extra}]')}"


def _short(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except (ValueError, OSError):  # elsewhere, or the current folder is gone
        return str(path)


def game_fails(task: Task, error: Exception) -> WorldModelError:
    """The error to show for a real game that did not open, with the command that installs it."""
    if isinstance(error, WorldModelError) and not isinstance(error, MissingPackage):
        return error
    if isinstance(error, MissingPackage):
        problem = "the real game is not installed"
    else:
        problem = f"the real game does not start ({(str(error) or type(error).__name__).splitlines()[0]})"
    fix = install_command(task.extra) if task.extra else "check its installation"
    return MissingPackage(task.title, problem, f"a working installation of {task.title}", fix)
