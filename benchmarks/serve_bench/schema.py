"""schemathesis against `/openapi.json`: whether it finds a fault, and in how many cases it looked."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from serve_bench.claims import Verdict
from serve_bench.environments import SCHEMATHESIS, interpreter
from serve_bench.running import Bench, pinned
from serve_bench.server import running

_MOST_SECONDS = 3600
_REQUEST_SECONDS = 60
_CASES = re.compile(r"(\d[\d,]*) generated")


def check(bench: Bench, size: str, cases: int) -> Verdict:
    """So many examples of every operation, all checks."""
    verdict = Verdict("schema")
    report = bench.out / "logs" / "schemathesis.log"
    bounded = [*bench.command(size), "--set", f"limits.output_tokens={_MOST_TOKENS}"]
    with pinned(bench.cores), running(bench.place, bounded, f"schema-{size}") as server:
        status, _ = server.get("/openapi.json")
        verdict.claim("/openapi.json is served", status == 200, f"status {status}")
        if status != 200:
            return verdict
        code = schemathesis(f"{server.url}/openapi.json", cases, report)
        alive = server.get("/health")[0]
        errors = server.log.read_text(encoding="utf-8", errors="replace").count("Traceback")
    text = report.read_text(encoding="utf-8", errors="replace")
    made = cases_of(text)
    verdict.figures = {"cases": made, "examples": cases, "report": str(report)}
    verdict.claim("schemathesis finds no failure", code == 0, f"{made:,} cases; {last_line(text)}; {report}")
    verdict.claim("it looked", made > 0, f"{made:,} cases")
    verdict.claim("the server is alive", alive == 200 and not errors, f"status {alive}, {errors} tracebacks")
    return verdict


_MOST_TOKENS = 500
"""Of an answer: a hundred thousand, a token a step, would be no failure but take longer than the client waits."""


def schemathesis(schema: str, cases: int, report: Path) -> int:
    """Its exit code; what it says goes into the report."""
    report.parent.mkdir(parents=True, exist_ok=True)
    with report.open("wb") as file:
        done = subprocess.run(
            command(schema, cases),
            stdout=file,
            stderr=file,
            check=False,
            timeout=_MOST_SECONDS,
            cwd=report.parent,
        )
    return done.returncode


def command(schema: str, cases: int) -> list[str]:
    """As a module: the script of an environment that was moved into its place names where it was made."""
    python = str(interpreter(SCHEMATHESIS))
    options = ["--max-examples", str(cases), "--seed", "1", "--request-timeout", str(_REQUEST_SECONDS)]
    return [
        python,
        "-P",
        "-m",
        "schemathesis.cli",
        "run",
        schema,
        "--no-color",
        "--continue-on-failure",
        *options,
    ]


def cases_of(text: str) -> int:
    """How many cases its report says that it made."""
    return sum(int(count.replace(",", "")) for count in _CASES.findall(text))


def last_line(text: str) -> str:
    return text.strip().rpartition("\n")[2].strip("= ")
