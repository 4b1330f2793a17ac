"""Writes the parts of the docs that are made from the code. `make docs` runs it; a test keeps them current."""

from __future__ import annotations

import ast
import io
import json
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel
from rich.console import Console

from bowerbird.cli.main import build_app
from bowerbird.data.prepare import PrepareConfig
from bowerbird.kinds.text_settings import TextRun
from bowerbird.monitoring.monitor import MonitorConfig
from bowerbird.monitoring.update_config import UpdateConfig
from bowerbird.runs.judging import JudgeConfig
from bowerbird.serving.serve_config import ServeConfig

ROOT = Path(__file__).resolve().parent.parent
WIDTH = 80
SETTINGS = (
    "Given as `--set key=value`, or in a YAML file with `--config`; a preset comes first, then the file, then\n"
    "`--set`. `--size` fills those of `train` that depend on the data; `train` shows what it filled in.\n\n"
)
NOTE = "<!-- Written by `make docs`. Do not edit. -->\n\n"


def commands() -> dict[str, str]:
    """Each command's help page as plain text, by name, in the order of a model's life; the front page is ``."""
    app = build_app()
    pages = {"": _page(app, [])}
    for name in app:
        if not name.startswith("-"):
            pages[name] = _page(app, [name])
            inner = [each for each in app[name] if not each.startswith("-")]
            pages |= {f"{name} {each}": _page(app, [name, each]) for each in inner}
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


def settings() -> str:
    """Every setting with its default and what it is, by the command that takes it."""
    records = {
        "prepare": PrepareConfig,
        "train, sweep, finetune": TextRun,
        "evaluate": JudgeConfig,
        "serve": ServeConfig,
        "monitor": MonitorConfig,
        "update": UpdateConfig,
    }
    parts = []
    for command, record in records.items():
        rows = [f"| `{key}` | `{_shown(default)}` | {about} |" for key, default, about in _fields(record)]
        parts.append(
            "\n".join([f"## {command}", "", "| setting | default | what it is |", "|---|---|---|", *rows, ""])
        )
    return "\n".join(parts)


def _fields(record: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, object, str]]:
    for name, field in record.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from _fields(inner, f"{prefix}{name}.")
        else:
            about = (field.description or "").replace("\n", " ").replace("|", "\\|")
            yield f"{prefix}{name}", field.get_default(call_default_factory=True), about


def _shown(default: object) -> str:
    return json.dumps(default) if not isinstance(default, tuple) else json.dumps(list(default))


def written() -> dict[Path, str]:
    """What each generated file should hold."""
    pages = commands()
    sections = [f"## {name}\n\n```\n{page}```\n" for name, page in pages.items() if name]
    return {
        ROOT / "src" / "bowerbird" / "cli" / "help.txt": pages[""],
        ROOT / "docs" / "commands.md": f"# Commands\n\n{NOTE}" + "\n".join(sections),
        ROOT / "docs" / "settings.md": f"# Settings\n\n{NOTE}{SETTINGS}{settings()}",
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
