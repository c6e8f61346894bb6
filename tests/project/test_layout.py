"""The layout of the code: allowed imports, required docstrings, forbidden calls."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.helpers import ROOT, fresh_process

TOPS = ("wm_envs", "training", "player")
SOURCES = [path for top in TOPS for path in sorted((ROOT / top).rglob("*.py"))]
PACKAGE = [path for path in SOURCES if path.is_relative_to(ROOT / "wm_envs")]
PLAY = ROOT / "play.py"
FOUNDATIONS = {"wm_envs.errors", "wm_envs.files", "wm_envs.hardware", "wm_envs.processes", "wm_envs.seeds",
               "wm_envs.validation"}  # fmt: skip
# What each folder may import besides itself and what stands above it in this list.
LAYERS = ("wm_envs.games", "wm_envs.models", "wm_envs.worlds", "wm_envs.envs", "training.infra", "training.config",
          "training.data",
          "training.exports", "training.learning", "training.acting", "training.judging", "training.reporting",
          "training.stages", "training.pipeline", "experiments")  # fmt: skip


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {name_of(path): path for path in SOURCES}


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


def own(path: Path) -> set[str]:
    """Our modules that `path` imports, lazy imports counted."""
    return imports(ast.walk(tree(path))) & set(MODULES) - {name_of(path)}


@pytest.mark.parametrize("path", PACKAGE, ids=name_of)
def test_package_never_imports_training_or_player(path: Path) -> None:
    tops = {name.split(".")[0] for name in imports(ast.walk(tree(path)))}
    assert not tops & {"training", "play", "player", "tests", "benchmarks"}
    assert not tops & {"cma", "zarr", "tqdm", "tensorboard"}


def test_no_import_circle() -> None:
    packages = {name for name, path in MODULES.items() if path.name == "__init__.py"}
    graph = {name: own(path) - packages for name, path in MODULES.items()}
    list(TopologicalSorter(graph).static_order())  # raises CycleError


def test_the_player_has_six_layers_and_forty_imports() -> None:
    files = {name for name in MODULES if name.startswith("player.")}
    graph = {name: own(MODULES[name]) & files for name in files}
    layers: dict[str, int] = {}
    for name in TopologicalSorter(graph).static_order():
        layers[name] = 1 + max((layers[below] for below in graph[name]), default=0)
    assert max(layers.values()) <= 6, layers
    assert sum(map(len, graph.values())) <= 40, graph


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_imports_point_one_way(path: Path) -> None:
    layer = next((number for number, folder in enumerate(LAYERS) if name_of(path).startswith(folder)), None)
    if layer is None:
        return
    above = tuple(LAYERS[layer + 1 :])
    assert not {name for name in own(path) if name.startswith(above)}


@pytest.mark.parametrize("path", [*ROOT.glob("wm_envs/*.py")], ids=name_of)
def test_base_modules_import_nothing_above_them(path: Path) -> None:
    if name_of(path) in FOUNDATIONS:
        assert own(path) <= FOUNDATIONS


@pytest.mark.parametrize("path", [*ROOT.glob("training/stages/*.py")], ids=name_of)
def test_stage_imports_no_other_stage(path: Path) -> None:
    assert not {name for name in own(path) if name.startswith("training.stages.")}


def test_importing_the_package_imports_no_torch() -> None:
    loaded = fresh_process("import sys, wm_envs; print(*{name.split('.')[0] for name in sys.modules})").split()
    assert "gymnasium" in loaded
    heavy = "torch pydantic tyro vizdoom Box2D cv2 pygame training zarr cma huggingface_hub onnx onnxruntime"
    assert not set(heavy.split()) & set(loaded)


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


@pytest.mark.parametrize("path", [*SOURCES, PLAY], ids=name_of)
def test_nothing_runs_code_from_data(path: Path) -> None:
    module = tree(path)
    forbidden = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"}
    assert not {name.split(".")[0] for name in imports(ast.walk(module))} & forbidden
    for node in ast.walk(module):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in {"eval", "exec", "compile", "__import__"}, f"line {node.lineno}"
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert (node.value.id, node.attr) != ("torch", "load"), f"line {node.lineno}"
            assert (node.value.id, node.attr) != ("os", "system"), f"line {node.lineno}"
        if isinstance(node, ast.keyword):
            assert node.arg != "shell", f"line {node.lineno}"
            refused = node.arg == "allow_pickle" and isinstance(node.value, ast.Constant) and node.value.value is False
            assert refused or node.arg != "allow_pickle", f"line {node.lineno}"
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "np.load":
            assert "allow_pickle" in {keyword.arg for keyword in node.keywords}, f"line {node.lineno}"
