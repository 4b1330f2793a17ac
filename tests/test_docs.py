"""The docs are true: what is generated is current, and every command, setting and link in them exists."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
GENERATED = runpy.run_path(str(ROOT / "docs" / "generate.py"))


def test_generated_docs_are_current() -> None:
    for path, content in GENERATED["written"]().items():
        assert path.read_text(encoding="utf-8") == content, f"{path.name} is stale: run `make docs`"


def test_every_command_has_an_example() -> None:
    for name, page in GENERATED["commands"]().items():
        assert not name or f"Example: bowerbird {name}" in page, name


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_commands_named_in_the_docs_exist(page: Path) -> None:
    known = set(GENERATED["commands"]())
    text = page.read_text(encoding="utf-8")
    named = set(re.findall(r"^\$? ?(?:\.venv/bin/)?bowerbird ([a-z][a-z-]*)", text, re.MULTILINE))
    assert named <= known, f"{page.name} names commands that do not exist: {named - known}"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_make_help_lists_every_target() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = next(line for line in text.splitlines() if line.startswith(".PHONY")).split()[1:]
    described = re.findall(r"^([a-z-]+):.*## ", text, re.MULTILINE)
    assert sorted(phony) == sorted(described)
