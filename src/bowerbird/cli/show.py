"""Shows results on stdout and everything else on stderr: tables, one JSON object, errors, progress."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from textwrap import indent
from typing import Any, TypeVar

from rich.console import Console

from bowerbird.base.errors import BowerbirdError, Interrupted
from bowerbird.base.journal import Record
from bowerbird.cli.options import Output

Done = TypeVar("Done")
STDOUT = Console(highlight=False, soft_wrap=True)
STDERR = Console(stderr=True, highlight=False, soft_wrap=True)


def result(
    output: Output, value: Mapping[str, Any], lines: Iterable[str] = (), then: str | None = None
) -> None:
    """The outcome of a command: one JSON object, or lines to read and the next useful command."""
    if output.json:
        sys.stdout.write(json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n")
        sys.stdout.flush()
        return
    for line in lines:
        say(line)
    if then and not output.quiet:
        STDERR.print(f"next: {then}", style="dim", markup=False)


def stage(output: Output, call: Callable[..., Done], *what: Any, **how: Any) -> Done:
    """Call a stage that trains; when it is interrupted, its outcome so far is still a result."""
    try:
        return call(*what, **how)
    except Interrupted as stopped:
        if output.json and stopped.outcome:
            result(output, stopped.outcome)
        raise


def log_to_stderr() -> None:
    """Set up logging, which a program does once and a library never."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(name)s: %(message)s")


def say(line: str) -> None:
    """One line of a result; text that the terminal cannot write is replaced, never an error."""
    encoding = sys.stdout.encoding or "utf-8"
    STDOUT.print(line.encode(encoding, "replace").decode(encoding), markup=False)


def note(output: Output, line: str, style: str | None = None) -> None:
    if not output.quiet:
        STDERR.print(line, style=style, markup=False)


def warn(output: Output, line: str) -> None:
    note(output, f"warning: {line}", "yellow")


def error(found: BowerbirdError) -> None:
    """`error:` what failed, `where:`, `hint:`."""
    STDERR.print(f"error: {found.what}", style="bold red", markup=False)
    if found.where:
        STDERR.print(f"  where: {found.where}", markup=False)
    if found.hint:
        STDERR.print(f"  hint: {found.hint}", markup=False)


def table(rows: Sequence[Sequence[Any]], head: Sequence[str]) -> list[str]:
    """Rows in columns as wide as they need to be."""
    cells = [[str(cell) for cell in row] for row in [head, *rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]


def counter(output: Output) -> Callable[[str, int], None]:
    """Progress of `prepare`: one updating line on a terminal, a line a stage when piped."""
    told: list[str] = []

    def tell(stage: str, count: int) -> None:
        if output.quiet:
            return
        if STDERR.is_terminal:
            STDERR.print(f"\r{stage}: {count:,}   ", end="", markup=False)
        elif stage not in told:
            STDERR.print(f"{stage} ...", markup=False)
        told.append(stage)

    return tell


def follow(output: Output, data: Any) -> Callable[[Record], None]:
    """A listener for the journal of a run over a dataset: one live line on a terminal, plain lines when piped."""
    unit = data.codec.unit
    units_per_token = data.units_per_token() if unit in _BITS else 1.0
    last = {"line": 0.0}

    def tell(record: Record) -> None:
        if output.quiet:
            return
        live = STDERR.is_terminal
        event = record.get("event")
        if event == "train":
            due = record["seconds"] - last["line"] >= (0 if live else 15)
            if not due:
                return
            last["line"] = record["seconds"]
            speed = record["steps_per_second"] * record["tokens"] * units_per_token
            line = (
                f"step {record['step']:,}  {_learnt(record, unit, units_per_token)}  {_speed(speed, unit)}/s  "
                f"{clock(record['seconds_left'])} left"
            )
            STDERR.print(f"\r{line}   " if live else line, end="" if live else "\n", markup=False)
            return
        if live:
            STDERR.print("\r" + " " * 90 + "\r", end="")
        if event == "start":
            STDERR.print(f"settings: {_flat(record['settings'])}", style="dim", markup=False)
        elif event == "evaluate":
            STDERR.print(
                f"step {record['step']:,}  held out: {_held_out(record)}  ({clock(record['seconds'])})",
                style="cyan",
                markup=False,
            )
        elif event == "sample":
            STDERR.print(f"  sample:{_sample(record, unit)}", style="dim", markup=False)
        elif event == "warning":
            STDERR.print(f"warning: {record['message']}", style="yellow", markup=False)
        elif event == "note":
            STDERR.print(record["message"], style="dim", markup=False)

    return tell


def noun(told: Mapping[str, Any]) -> str:
    """What a dataset's items are called."""
    return "pictures" if told["codec"] == "pixels" else "documents"


def codec(told: Mapping[str, Any]) -> str:
    """How a dataset's items are written down."""
    if told["codec"] != "pixels":
        return f"codec: {told['codec']}, {told['vocab_size']:,} tokens"
    return f"{told['size']} x {told['size']} pixels, {len(told['classes'])} classes"


def in_words(scores: Mapping[str, float]) -> str:
    """The scores of a validation: bits first, where there are such."""
    bits = [name for name in scores if name.startswith("bits_per_")]
    told = [f"{scores[name]:.3f} {name.replace('_', ' ')}" for name in bits]
    return ", ".join(told + [f"{name} {scores[name]:.3f}" for name in scores if name not in bits])


_BITS = ("byte", "note")
"""Units whose bits are counted."""


def _learnt(record: Record, unit: str, units_per_token: float) -> str:
    """What a step tells of its learning."""
    if unit in _BITS:
        bits = record["loss"] / 0.6931471805599453 / units_per_token
        return f"loss {record['loss']:.3f}  {bits:.3f} bits/{unit}"
    return f"critic {record['loss']:.3f}  generator {record['generator_loss']:.3f}"


def _speed(speed: float, unit: str) -> str:
    if unit not in _BITS:
        return f"{speed:,.0f} pictures"
    return f"{speed / 1000:.1f}k {'characters' if unit == 'byte' else f'{unit}s'}"


def _held_out(record: Record) -> str:
    parts = []
    for key, value in record.items():
        name = key.removeprefix("valid_")
        if name.startswith("bits_per_"):
            parts.append(f"{value:.3f} bits/{name.removeprefix('bits_per_')}")
        elif name != key:
            parts.append(f"{name} {value:.3f}")
    return "  ".join(parts)


def _sample(record: Record, unit: str) -> str:
    if record.get("path"):
        return f" {record['path']}"
    return indent(f"\n{record['text']}", "    ").rstrip() if unit == "note" else f" {record['text']!r}"


def _flat(settings: Mapping[str, Any]) -> str:
    """Settings on one line as `--set` writes them; those that are switched off are left out."""
    parts = []
    for key, value in settings.items():
        if isinstance(value, Mapping) and value.get("dataset", "") is None:
            continue  # nothing is mixed in, so its share says nothing
        if isinstance(value, Mapping):
            parts.append(_flat({f"{key}.{inner}": item for inner, item in value.items()}))
        elif value not in (None, False, 0.0, "none") and value != []:
            parts.append(f"{key}={value}")
    return " ".join(part for part in parts if part)


def clock(seconds: float) -> str:
    minutes, seconds = divmod(max(int(seconds), 0), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
