"""Folders that are written completely or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from wm_envs.files import temporary_name


@contextlib.contextmanager
def new_folder(final: Path) -> Iterator[Path]:
    """A temporary folder that replaces `final` when the block ends. If the block fails, `final` stays as it is.

    A process that is killed between the two renames leaves the old folder under another name; `files.sweep`, which
    every stage calls, puts it back.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    temporary, old = temporary_name(final), temporary_name(final, "old")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir()
        yield temporary
        for lock in temporary.glob(".*.lock"):
            lock.unlink()
        if final.exists():
            final.rename(old)
        temporary.rename(final)
    except BaseException:
        if old.exists() and not final.exists():
            with contextlib.suppress(OSError):
                old.rename(final)
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    shutil.rmtree(old, ignore_errors=True)


def link_folder(source: Path, final: Path) -> None:
    """Make `final` a folder of the same files as `source` (hard links), unless it is there already.

    Writers replace files and do not change them, so neither folder sees what is written to the other.
    """
    if not final.exists():
        with new_folder(final) as temporary:
            shutil.copytree(source, temporary, copy_function=os.link, dirs_exist_ok=True)
