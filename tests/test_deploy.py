"""What puts a server to work on a machine names what exists: options, files, extras, and each other."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

from bowerbird.cli.operating import Operating
from tests.conftest import Ran

ROOT = Path(__file__).resolve().parent.parent
DEPLOY = ROOT / "deploy"
Bowerbird = Callable[..., Ran]
_TO_STOP = 1.0 + 2.0 + 10.0
"""Seconds that a server may take beyond those to drain: last words, a farewell, and the supervisor's grace."""


def unit() -> dict[str, list[str]]:
    """The values of each setting of the unit, in their order."""
    found: dict[str, list[str]] = {}
    for line in (DEPLOY / "bowerbird.service").read_text(encoding="utf-8").splitlines():
        if line and line[0] not in "#[":
            name, value = line.split("=", 1)
            found.setdefault(name, []).append(value)
    return found


def container() -> list[tuple[str, str]]:
    """The instructions of the Containerfile, each with what follows it."""
    text = (DEPLOY / "Containerfile").read_text(encoding="utf-8")
    joined = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE))
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in joined.splitlines() if line]


def environment_of_the_unit() -> dict[str, str]:
    return dict(value.split("=", 1) for value in unit()["Environment"])


def environment_of_the_container() -> dict[str, str]:
    last = max(place for place, (name, _) in enumerate(container()) if name == "FROM")
    values = [value for name, value in container()[last:] if name == "ENV"]
    return dict(pair.split("=", 1) for value in values for pair in value.split())


def project() -> dict[str, Any]:
    told: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return told


def options(bowerbird: Bowerbird, *command: str) -> set[str]:
    return set(re.findall(r"--[a-z][a-z-]+", bowerbird(*command, "--help").out))


@pytest.mark.parametrize("told", [environment_of_the_unit, environment_of_the_container])
def test_variables_are_options_of_serve(told: Callable[[], dict[str, str]], bowerbird: Bowerbird) -> None:
    known = options(bowerbird, "serve")
    named = [name for name in told() if name.startswith("BOWERBIRD_")]
    assert len(named) >= 3
    for name in named:
        assert f"--{name.removeprefix('BOWERBIRD_').lower().replace('_', '-')}" in known, name


@pytest.mark.parametrize("told", [environment_of_the_unit, environment_of_the_container])
def test_variables_are_taken(
    told: Callable[[], dict[str, str]],
    bowerbird: Bowerbird,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    for name, value in told().items():
        if name.startswith("BOWERBIRD_"):
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("BOWERBIRD_WORKSPACE", str(tmp_path))
    if "BOWERBIRD_KEYS" in told():
        monkeypatch.setenv("BOWERBIRD_KEYS", str(tmp_path / "keys.json"))
        assert bowerbird("keys", "new", "me").code == 0
    monkeypatch.setenv("BOWERBIRD_PORT", "0")
    ran = bowerbird("serve", "poems@live")
    assert ran.code == 4, ran.err  # all is well but that there is no such model
    assert "poems" in ran.err


def test_the_unit_starts_what_is_there_and_is_told_when_it_is_ready(bowerbird: Bowerbird) -> None:
    found = unit()
    [start] = found["ExecStart"]
    program, command, models = start.split()
    assert program == "/opt/bowerbird/bin/bowerbird"
    assert Path(program).name in project()["scripts"]
    assert bowerbird(command, "--help").code == 0
    assert models == "$MODELS"  # without braces, so that several models are several words
    assert "MODELS" in environment_of_the_unit()
    assert (found["Type"], found["NotifyAccess"]) == (["notify"], ["main"])
    assert Path(program).parents[1].as_posix() in (DEPLOY / "README.md").read_text(encoding="utf-8")


def test_the_unit_gives_time_to_drain() -> None:
    drain = float(environment_of_the_unit()["BOWERBIRD_DRAIN_SECONDS"])
    Operating(drain_seconds=drain).check()
    assert float(unit()["TimeoutStopSec"][0]) > drain + _TO_STOP
    assert unit()["KillMode"] == ["mixed"]


def test_the_unit_writes_only_where_it_may() -> None:
    found, told = unit(), environment_of_the_unit()
    assert found["ProtectSystem"] == ["strict"]
    assert told["BOWERBIRD_WORKSPACE"] == f"/var/lib/{found['StateDirectory'][0]}"
    assert told["NUMBA_CACHE_DIR"] == f"/var/cache/{found['CacheDirectory'][0]}"
    assert found["EnvironmentFile"] == [f"/etc/{found['ConfigurationDirectory'][0]}/serve.env"]
    assert "MemoryDenyWriteExecute" not in found  # numba writes machine code, and runs it
    kind, account, _, _, home = shlex.split((DEPLOY / "bowerbird.sysusers").read_text(encoding="utf-8"))
    assert (kind, account, home) == ("u", found["User"][0], told["BOWERBIRD_WORKSPACE"])


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not here")
def test_systemd_finds_no_fault_in_the_unit(tmp_path: Path) -> None:
    text = (DEPLOY / "bowerbird.service").read_text(encoding="utf-8")
    here = tmp_path / "bowerbird.service"
    # It is verified where nothing is installed: the program must be one that is there.
    here.write_text(text.replace("/opt/bowerbird/bin/bowerbird", shutil.which("true") or "/bin/true"))
    command = ["systemd-analyze", "verify", "--man=no", str(here)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    ours = [line for line in ran.stderr.splitlines() if "bowerbird" in line]
    assert ours == []
    assert ran.returncode == 0, ran.stderr


def test_the_container_copies_what_is_there_and_let_in() -> None:
    rules = (DEPLOY / "Containerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    let_in = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    assert rules[0] == "*"
    copied = [
        source
        for name, value in container()
        if name == "COPY" and not value.startswith("--from")
        for source in value.split()[:-1]
    ]
    assert {"src", "pyproject.toml"} <= set(copied)
    assert set(copied) == let_in
    for source in copied:
        assert (ROOT / source).exists(), source
    for file in ("license-files", "readme"):  # without these the package cannot be built
        named = project()[file]
        for each in [named] if isinstance(named, str) else named:
            assert any(fnmatch(each, source) for source in copied), each


def test_the_container_installs_extras_that_exist_and_the_torch_that_is_asked_for() -> None:
    arguments = dict(value.split("=", 1) for name, value in container() if name == "ARG")
    assert set(arguments["EXTRAS"].split(",")) <= set(project()["optional-dependencies"])
    assert {"serve", "fast"} <= set(arguments["EXTRAS"].split(","))
    [torch] = [each for each in project()["dependencies"] if each.startswith("torch")]
    assert any(f'"{torch}"' in value for name, value in container() if name == "RUN")
    version = re.search(r"python:(\d+\.\d+)", arguments["PYTHON"])
    assert version is not None
    assert f">={version[1]}" == project()["requires-python"]


def test_the_container_runs_without_rights_and_is_asked_for_its_health() -> None:
    found = dict(container())
    assert found["USER"] == "bowerbird"
    assert found["ENTRYPOINT"] == '["bowerbird"]'
    assert found["STOPSIGNAL"] == "SIGTERM"
    assert f":{found['EXPOSE']}/health" in found["HEALTHCHECK"]
    told = environment_of_the_container()
    assert told["BOWERBIRD_WORKSPACE"] in found["VOLUME"]
    assert Path(told["BOWERBIRD_KEYS"]).parent.as_posix() == told["BOWERBIRD_WORKSPACE"]
    assert told["BOWERBIRD_HOST"] == "0.0.0.0"  # which wants keys


def test_the_health_check_is_a_program_that_works(tmp_path: Path) -> None:
    found = dict(container())["HEALTHCHECK"]
    program = re.search(r'"-c", "([^"]+)"', found)
    assert program is not None
    asked = program[1].replace("127.0.0.1:8000", "127.0.0.1:1")  # where nobody answers
    ran = subprocess.run(
        [sys.executable, "-c", asked], capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 1
    assert "URLError" in ran.stderr


def test_the_page_names_files_and_commands_that_exist(bowerbird: Bowerbird) -> None:
    page = (DEPLOY / "README.md").read_text(encoding="utf-8")
    for name in re.findall(r"deploy/([\w-]+(?:\.[\w-]+)*)", page):
        assert (DEPLOY / name).exists(), name
    for target in re.findall(r"\]\(([^)#\s]+)", page):
        assert "://" in target or (DEPLOY / target).exists(), target
    for name in os.listdir(DEPLOY):
        assert name == "README.md" or name.partition(".dockerignore")[0] in page, name
    known = options(bowerbird, "serve") | options(bowerbird, "publish")
    assert {"--drain-seconds", "--metrics-port", "--metrics-host"} <= set(
        re.findall(r"--[a-z][a-z-]+", page)
    ) & known
    for variable in re.findall(r"BOWERBIRD_([A-Z_]+)=", page):
        assert f"--{variable.lower().replace('_', '-')}" in known, variable
