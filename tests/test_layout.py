"""The plan of the house, asserted: who may import whom, what every module owes its reader, what is forbidden."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from conftest import ROOT, fresh_process

PACKAGE = sorted((ROOT / "wm_envs").glob("*.py"))
TRAINING = sorted((ROOT / "training").glob("*.py"))
PLAY = [path for path in (ROOT / "play.py",) if path.exists()]
FOUNDATIONS = {"errors", "files", "hardware"}
SIMPLE = ("tasks", "vision", "memory", "controller")
name_of = lambda path: f"{path.parent.name}/{path.name}"  # noqa: E731


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def imports(nodes: object) -> set[str]:
    """Full names of imported modules; `from a import b` gives both a and a.b."""
    found: set[str] = set()
    for node in nodes:  # type: ignore[attr-defined]
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            found |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def own(path: Path, lazy: bool = False) -> set[str]:
    """Modules of wm_envs that `path` imports, by default at import time only."""
    nodes = ast.walk(tree(path)) if lazy else _at_import(tree(path))
    names = {name.split(".")[1] for name in imports(nodes) if name.startswith("wm_envs.")}
    return names & {other.stem for other in PACKAGE}


def _at_import(node: ast.AST) -> list[ast.AST]:
    found: list[ast.AST] = []
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            found += [child, *_at_import(child)]
    return found


@pytest.mark.parametrize("path", PACKAGE, ids=name_of)
def test_the_package_never_imports_training_or_play(path: Path) -> None:
    tops = {name.split(".")[0] for name in imports(ast.walk(tree(path)))}
    assert not tops & {"training", "play", "seat", "tests", "benchmarks"}


@pytest.mark.parametrize("path", PACKAGE, ids=name_of)
def test_stage_tools_are_no_need_of_the_package(path: Path) -> None:
    assert not {name.split(".")[0] for name in imports(ast.walk(tree(path)))} & {"cma", "zarr", "tqdm", "tensorboard"}


@pytest.mark.parametrize("module", SIMPLE)
def test_foundations_import_nothing_above_them(module: str) -> None:
    assert own(ROOT / "wm_envs" / f"{module}.py") <= FOUNDATIONS


def test_arrows_point_one_way() -> None:
    graph = {path.stem: own(path) for path in PACKAGE}
    list(TopologicalSorter(graph).static_order())  # raises CycleError

    def below(module: str) -> set[str]:
        return graph[module].union(*(below(other) for other in graph[module]))

    upper = ["world_model", "worlds", "dream"]
    for position, module in enumerate(upper):
        assert not below(module) & {"dream", "real", *upper[position:]}
    assert "dream" not in below("real")
    assert {*SIMPLE, "world_model"} <= below("worlds")
    assert {"world_model", "worlds"} <= below("dream") & below("real")


def test_training_has_no_circle() -> None:
    stems = {path.stem for path in TRAINING}
    graph = {
        path.stem: {n.split(".")[1] for n in imports(_at_import(tree(path))) if n.startswith("training.")} & stems
        for path in TRAINING
    }
    list(TopologicalSorter(graph).static_order())


def test_importing_the_package_imports_no_torch() -> None:
    loaded = fresh_process("import sys, wm_envs; print(*{name.split('.')[0] for name in sys.modules})").split()
    assert "gymnasium" in loaded
    assert not {"torch", "vizdoom", "Box2D", "cv2", "pygame", "training", "zarr", "cma"} & set(loaded)


def test_ids_are_registered_with_string_entry_points() -> None:
    import gymnasium as gym

    import wm_envs

    assert wm_envs.__version__
    for name in ("WMDream-v0", "WMTakeCover-v0", "WMDreamCarRacing-v0", "WMCarRacing-v0"):
        spec = gym.spec(name)
        assert isinstance(spec.entry_point, str) and isinstance(spec.vector_entry_point, str)
    assert isinstance(gym.spec("FastCarRacing-v0").entry_point, str)


@pytest.mark.parametrize("path", PACKAGE, ids=name_of)
def test_everything_public_has_a_docstring(path: Path) -> None:
    module = tree(path)
    bare = [] if ast.get_docstring(module) else ["the module"]
    classes = [node for node in module.body if isinstance(node, ast.ClassDef)]
    for owner in (module, *(node for node in classes if not node.name.startswith("_"))):
        for node in owner.body:
            if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name.startswith("_"):
                continue
            setter = any(isinstance(d, ast.Attribute) and d.attr == "setter" for d in node.decorator_list)
            if not setter and not ast.get_docstring(node):
                bare.append(node.name)
    assert not bare


@pytest.mark.parametrize("path", [*PACKAGE, *TRAINING, *PLAY], ids=name_of)
def test_nothing_runs_code_from_data(path: Path) -> None:
    module = tree(path)
    forbidden = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"}
    assert not {name.split(".")[0] for name in imports(ast.walk(module))} & forbidden
    for node in ast.walk(module):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in {"eval", "exec", "compile", "__import__"}, f"line {node.lineno}"
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert (node.value.id, node.attr) not in {("torch", "load"), ("np", "load")}, f"line {node.lineno}"
            assert (node.value.id, node.attr) != ("os", "system"), f"line {node.lineno}"
        if isinstance(node, ast.keyword):
            assert node.arg not in {"allow_pickle", "shell"}, f"line {node.lineno}"
