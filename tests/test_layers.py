"""Imports point down only. Imports inside functions and under TYPE_CHECKING count: that is where cycles hide."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import bowerbird

ROOT = Path(bowerbird.__file__).parent
LEVELS = [
    ["base"],
    ["data", "models", "store"],
    ["learning", "sampling", "evaluation"],
    ["kinds", "workspace"],
    ["runs"],
    ["sweeps"],
    ["lifecycle", "inspection"],
    ["serving", "monitoring", "studio", "cluster"],
    ["cli"],
]
LEVEL = {place: level for level, places in enumerate(LEVELS) for place in places}
FRONT = ("__init__", "__main__")


def place(module: str) -> str:
    """The folder or module directly below the package that a dotted name lies in."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def imports(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, name.name) for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}:{node.lineno} imports relatively"
            if node.module == "bowerbird":
                yield from ((node.lineno, f"bowerbird.{name.name}") for name in node.names)
            else:
                yield node.lineno, node.module


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down_only(path: Path) -> None:
    here = path.relative_to(ROOT).with_suffix("").parts[0]
    if here in FRONT:
        return
    assert here in LEVEL, f"{here} has no level: place it in LEVELS and in the architecture"
    for line, module in imports(path):
        if module.partition(".")[0] != "bowerbird":
            continue
        there = place(module)
        if there.startswith("__"):
            continue  # the version
        assert there == here or LEVEL[there] < LEVEL[here], f"{path}:{line}: {here} may not import {there}"


def test_the_check_sees_an_upward_import(tmp_path: Path) -> None:
    source = tmp_path / "x.py"
    source.write_text("def f():\n    from bowerbird.cli import main\n    import bowerbird.serving.app\n")
    assert [place(module) for _, module in imports(source)] == ["cli", "serving"]
