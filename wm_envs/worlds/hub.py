"""Worlds on the Hugging Face Hub: `hf://USER/NAME@REVISION`.

The files go into the hub's own cache. What is downloaded is a bundle like any other: its hashes are checked when it is
loaded, and nothing in it is executed. Needs the extra `hub`, which is imported at the first use.
"""

from __future__ import annotations

import contextlib
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

from wm_envs.errors import BrokenWorld, HubError, InvalidOption, MissingPackage, UnknownName
from wm_envs.worlds.config import read_config

PREFIX = "hf://"
_NAME = re.compile(r"hf://([\w.-]+/[\w.-]+)(?:@([\w./-]+))?", re.ASCII)


def is_on_hub(world: object) -> bool:
    """Whether `world` names a world on the hub."""
    return isinstance(world, str) and world.startswith(PREFIX)


def parse(world: str, field: str = "world") -> tuple[str, str]:
    """USER/NAME and the revision, "" if there is none. Raises `InvalidOption`, or `MissingPackage` without the hub."""
    match = _NAME.fullmatch(world)
    if not match:
        expected = "hf://USER/NAME, or hf://USER/NAME@REVISION with a commit, tag or branch"
        raise InvalidOption(field, world, expected, f"pass {field}='hf://user/name@v1', for example")
    if importlib.util.find_spec("huggingface_hub") is None:
        raise MissingPackage("hub", "no package 'huggingface_hub'", "the extra 'hub'", "pip install 'wm-envs[hub]'")
    return match[1], match[2] or ""


def fetch(world: str, names: tuple[str, ...]) -> Path:
    """The folder of a world in the hub's cache, downloaded if it is not there.

    config.json comes first, and `read_config` refuses a bundle of another version before the large files. `names` are
    the files that a bundle may have. All files are of one commit, even if a branch moves meanwhile. Raises
    `InvalidOption`, `MissingPackage`, `UnknownName`, `HubError`, and `BrokenWorld`.
    """
    repo, revision = parse(world)
    folder = _download(world, repo, "config.json", revision).parent  # .../snapshots/COMMIT
    listed = read_config(folder)["files"]
    for name in names:
        if name in listed:
            _download(world, repo, name, folder.name)
    return folder


def _download(world: str, repo: str, name: str, revision: str) -> Path:
    from huggingface_hub import hf_hub_download

    with _typed_errors(world, name):
        return Path(hf_hub_download(repo, name, revision=revision or None))


def check_upload(world: str) -> None:
    """Raises `InvalidOption`, `MissingPackage` or `HubError` if a world cannot be uploaded to `world`."""
    _, revision = parse(world, "to")
    if revision:
        raise InvalidOption("to", world, "no revision: the upload makes one", "give --to hf://USER/NAME")
    from huggingface_hub import get_token

    if get_token() is None:
        raise HubError("hub", "no token", "a token that may write", "run `hf auth login`, or set HF_TOKEN")


def upload(folder: Path, world: str) -> str:
    """Upload the files of a bundle as one commit, after making the repository; returns hf://USER/NAME@COMMIT."""
    from huggingface_hub import HfApi

    repo, _ = parse(world, "to")
    with _typed_errors(world, "the upload"):
        api = HfApi(library_name="wm-envs")
        api.create_repo(repo, exist_ok=True)
        commit = api.upload_folder(repo_id=repo, folder_path=folder, commit_message="Publish a world of wm-envs")
    return f"{PREFIX}{repo}@{commit.oid}"


@contextlib.contextmanager
def _typed_errors(world: str, what: str) -> Iterator[None]:
    """Raise the hub's errors as this package's."""
    from huggingface_hub import errors

    try:
        yield
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.HFValidationError) as error:
        fix = "check the name and the revision; for a private world run `hf auth login`"
        raise UnknownName("world", world, "a world on the hub", fix) from error
    except errors.RemoteEntryNotFoundError as error:
        raise BrokenWorld(
            "world", f"{world} without {what}", "a complete bundle", "upload it with `publish --to hf://USER/NAME`"
        ) from error
    except Exception as error:  # of the network, of the server, of the cache
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise HubError(
            "hub", f"{world}: {what} failed ({reason})", "an answer of the hub, or this world in its cache",
            "check the network and, for an upload or a private world, the token (`hf auth login`)",
        ) from error  # fmt: skip
