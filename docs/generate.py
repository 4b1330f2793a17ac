"""Writes the parts of the docs that are made from the code. `make docs` runs it; a test keeps them current."""

from __future__ import annotations

import ast
import io
from pathlib import Path

from rich.console import Console

from bowerbird.cli.main import build_app

ROOT = Path(__file__).resolve().parent.parent
WIDTH = 80
NOTE = "<!-- Written by `make docs`. Do not edit. -->\n\n"


def commands() -> dict[str, str]:
    """Each command's help page as plain text, by name, in the order of a model's life; the front page is ``."""
    app = build_app()
    pages = {"": _page(app, [])}
    for name in app:
        if not name.startswith("-"):
            pages[name] = _page(app, [name])
    return pages


def tree() -> str:
    """Every module of the package with the first line of its docstring."""
    package = ROOT / "src" / "bowerbird"
    lines = []
    for path in sorted(
        package.rglob("*.py"), key=lambda path: (path.parent, path.name != "__init__.py", path.name)
    ):
        relative = path.relative_to(package)
        about = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0]
        name = (
            f"{relative.parent}/"
            if path.name == "__init__.py" and relative.parent != Path()
            else str(relative)
        )
        lines.append(f"| `{name}` | {about} |")
    return "\n".join(["| module | what it is |", "|---|---|", *lines]) + "\n"


def written() -> dict[Path, str]:
    """What each generated file should hold."""
    pages = commands()
    sections = [f"## {name}\n\n```\n{page}```\n" for name, page in pages.items() if name]
    return {
        ROOT / "src" / "bowerbird" / "cli" / "help.txt": pages[""],
        ROOT / "docs" / "commands.md": f"# Commands\n\n{NOTE}" + "\n".join(sections),
        ROOT / "docs" / "tree.md": f"# The tree\n\n{NOTE}{tree()}",
    }


def _page(app: object, tokens: list[str]) -> str:
    buffer = io.StringIO()
    console = Console(file=buffer, width=WIDTH, force_terminal=False, color_system=None)
    app.help_print(tokens, console=console)  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in buffer.getvalue().strip().splitlines()) + "\n"


if __name__ == "__main__":
    for path, content in written().items():
        path.write_text(content, encoding="utf-8")
        print(f"wrote {path.relative_to(ROOT)}")
