"""The player's files stand on few layers, with few imports between them."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter

from tests.helpers import ROOT

FILES = {f"player.{path.stem}": path for path in (ROOT / "player").glob("[!_]*.py")}


def imports_of(name: str) -> set[str]:
    """The player's other files that a file imports, lazy imports counted."""
    nodes = list(ast.walk(ast.parse(FILES[name].read_text())))
    names = {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    names |= {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return names & set(FILES) - {name}


def test_six_layers_and_forty_imports() -> None:
    graph = {name: imports_of(name) for name in FILES}
    layers: dict[str, int] = {}
    for name in TopologicalSorter(graph).static_order():
        layers[name] = 1 + max((layers[below] for below in graph[name]), default=0)
    assert max(layers.values()) <= 6, layers
    assert sum(map(len, graph.values())) <= 40, graph
