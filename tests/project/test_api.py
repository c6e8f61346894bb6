"""The public interface: what `wm_envs` names is what the API page lists, and all of it is there."""

import re

import pytest

import wm_envs
from tests.helpers import ROOT, fresh_process


def test_the_api_page_lists_the_public_names() -> None:
    sb3 = pytest.importorskip("wm_envs.sb3")
    listed = re.findall(r"^::: (\S+)$", (ROOT / "docs/api.md").read_text(), re.MULTILINE)
    public = [f"wm_envs.{name}" for name in wm_envs.__all__] + [f"wm_envs.sb3.{name}" for name in sb3.__all__]
    assert sorted(listed) == sorted([*public, "wm_envs.errors"])


def test_public_names_are_imported_when_they_are_used() -> None:
    code = """
import sys, wm_envs
assert set(wm_envs.__all__) <= set(dir(wm_envs)) and "torch" not in sys.modules
from wm_envs import *
assert load_world is wm_envs.load_world and State.__name__ == "State" and "torch" in sys.modules
print(not {"stable_baselines3", "pygame", "vizdoom", "Box2D"} & set(sys.modules))
"""
    assert fresh_process(code) == "True\n"


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="no attribute 'LatentFeature'"):
        wm_envs.LatentFeature  # noqa: B018
