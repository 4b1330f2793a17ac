"""The whole loop on real texts: drift is seen, an update makes a version that is better there, and it goes live.

    python benchmarks/loop.py --out DIR [--minutes 4] [--update-minutes 4] [--requests 600] [--window 100]

The old domain is `demo:speeches`, presidential messages (public domain); the new one the words of `demo:chat`, people
chatting (MIT), as plain texts. A model learns the old one, is published and served with full events. Requests come with
prompts from held-out messages, then from chats that the update never sees. Then the two commands:

    bowerbird monitor loop --json
    bowerbird update loop --data CHATS --yes --json

and after them `rollback`, `promote` and `versions --log`. What is told: after how many requests of the new kind the
alarm came, bits per byte of both versions on what is held out of both domains with their intervals, what the server
served after each move of the alias, and the promotion log. OUT/loop.json has all; the exit code is 1 where a claim is
false: an alarm, a new version better on the new domain beyond chance and not worse on the old by more than 2 %,
promoted, rolled back, promoted again.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bowerbird.base.files import write_json
from bowerbird.data.dataset import Dataset
from bowerbird.data.item import Item
from bowerbird.data.markers import plain, turns
from bowerbird.data.sources.gather import gather
from bowerbird.data.sources.source import GatherConfig
from machine import describe

NAME = "loop"
PROMPT = 160
"""Characters of a prompt at most."""
TOKENS = 24
"""Made for each."""
CHATS_A_FILE = 20
HELD_BACK = 0.1
"""Of the chats, for prompts: the update does not see them."""


def parse(given: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="benchmarks/loop.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("runs/bench-loop"), help="where all is kept")
    parser.add_argument("--minutes", type=float, default=4.0, help="that the first version learns")
    parser.add_argument("--update-minutes", type=float, default=4.0)
    parser.add_argument("--requests", type=int, default=600, help="of each kind")
    parser.add_argument("--window", type=int, default=100, help="requests that are looked at together")
    parser.add_argument("--most-bytes", type=int, default=1_500_000, help="of each domain")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], help="a setting of the update, as mix=0.6")
    return parser.parse_args(given)


def main(given: Sequence[str]) -> int:
    asked = parse(given)
    out: Path = asked.out.absolute()
    out.mkdir(parents=True, exist_ok=False)
    os.environ["OMP_NUM_THREADS"] = str(asked.threads)
    os.environ["BOWERBIRD_WORKSPACE"] = str(out / "workspace")
    machine = describe()
    chats, prompts_new = written_chats(out / "chats", asked.most_bytes)
    messages = written_messages(out / "messages", asked.most_bytes)
    bowerbird("prepare", messages, "--out", out / "old", "--seed", asked.seed)
    bowerbird("train", out / "old", "--out", out / "run", "--minutes", asked.minutes, "--seed", asked.seed)
    bowerbird("publish", out / "run", NAME, "--alias", "live")
    prompts_old = [plain(Dataset.open(out / "old").text("test", at)) for at in range(_held_out(out / "old"))]
    told: dict[str, Any] = {"machine": machine, "settings": _settings(asked)}
    with serving(NAME) as url:
        told["first"] = live_digest(url)
        ask(url, spread(prompts_old, asked.requests))
        told["before"] = monitored(asked)
        told["alarm_after"] = None
        step = max(asked.window // 2, 1)
        for sent in range(step, asked.requests + 1, step):
            ask(url, spread(prompts_new, asked.requests)[sent - step : sent])
            told["after"] = monitored(asked)
            if told["alarm_after"] is None and told["after"]["verdict"] == "moved":
                told["alarm_after"] = sent
        chosen = [part for setting in asked.set for part in ("--set", setting)]
        began = time.monotonic()
        told["update"] = bowerbird(
            *(
                "update",
                NAME,
                "--data",
                chats,
                "--minutes",
                asked.update_minutes,
                "--seed",
                asked.seed,
                "--yes",
            ),
            *chosen,
            may_fail=True,
        )
        told["update_seconds"] = round(time.monotonic() - began, 1)
        told["served"] = {"after the update": settled(url, told["first"])}
        if told["update"].get("decision") == "promoted":
            bowerbird("rollback", NAME)
            told["served"]["rolled back"] = settled(url, told["served"]["after the update"])
            bowerbird("promote", f"{NAME}@2")
            told["served"]["promoted again"] = settled(url, told["served"]["rolled back"])
    told["log"] = bowerbird("versions", NAME, "--log")["log"]
    told["claims"] = claims(told)
    write_json(out / "loop.json", told)
    print("\n".join(summary(told)))
    return 0 if all(told["claims"].values()) else 1


def claims(told: dict[str, Any]) -> dict[str, bool]:
    """What must be so."""
    gates = {gate["name"]: gate for gate in told["update"].get("gates", [])}
    served = told["served"]
    moves = [(entry["action"], entry["alias"]) for entry in told["log"]]
    return {
        "no alarm on what it learnt": told["before"]["verdict"] != "moved",
        "an alarm on the new domain": told["alarm_after"] is not None,
        "better on the new domain beyond chance": gates.get("better on the new data", {}).get(
            "passed", False
        ),
        "not worse on the old by more than 2 %": gates.get("not worse on old data", {}).get("passed", False),
        "promoted, rolled back, promoted again": moves[-3:]
        == [("promote", "live"), ("rollback", "live"), ("promote", "live")]
        and served.get("rolled back") == told["first"]
        and served.get("promoted again") == served["after the update"] != told["first"],
    }


def summary(told: dict[str, Any]) -> list[str]:
    lines = [f"alarm after {told['alarm_after']} requests of the new kind"]
    lines += [f"{gate['name']}: {gate['why']}" for gate in told["update"].get("gates", [])]
    lines.append(f"the update took {told['update_seconds']:.0f} s and was {told['update'].get('decision')}")
    lines += [
        f"{entry['when']} {entry['action']} {entry['alias'] or ''} -> {entry['version']}  {entry['why'] or ''}"
        for entry in told["log"]
    ]
    lines += [f"{'holds' if held else 'FALSE'}: {claim}" for claim, held in told["claims"].items()]
    return lines


def bowerbird(*arguments: object, may_fail: bool = False) -> dict[str, Any]:
    """One command, by itself; its JSON."""
    line = [sys.executable, "-m", "bowerbird", *map(str, arguments), "--json"]
    ran = subprocess.run(line, stdout=subprocess.PIPE, text=True, check=False)
    if ran.returncode and not may_fail:
        raise SystemExit(f"{' '.join(line)} ended with {ran.returncode}")
    return dict(json.loads(ran.stdout))


@contextmanager
def serving(reference: str) -> Iterator[str]:
    """A server of a name, with full events; its address."""
    line = [
        sys.executable,
        "-m",
        "bowerbird",
        "serve",
        reference,
        "--port",
        "0",
        "--events",
        "full",
        "--json",
    ]
    server = subprocess.Popen(line, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        yield str(json.loads(server.stdout.readline())["url"])
    finally:
        server.terminate()
        server.wait(30)


def monitored(asked: argparse.Namespace) -> dict[str, Any]:
    time.sleep(1.0)  # the last batch of events is written half a second later
    found = bowerbird("monitor", NAME, "--window", asked.window)
    return {key: found[key] for key in ("verdict", "changes") if key in found}


def ask(url: str, prompts: Sequence[str]) -> None:
    for number, prompt in enumerate(prompts):
        body = {"model": NAME, "prompt": prompt, "max_tokens": TOKENS, "seed": number}
        request = urllib.request.Request(
            f"{url}/v1/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        urllib.request.urlopen(request, timeout=60).read()


def live_digest(url: str) -> str:
    with urllib.request.urlopen(f"{url}/v1/models/{NAME}", timeout=60) as answer:
        return str(json.load(answer)["digest"])


def settled(url: str, before: str, seconds: float = 30.0) -> str:
    """What is served once it is another than before, or after so long."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and live_digest(url) == before:
        time.sleep(0.2)
    return live_digest(url)


def written_messages(folder: Path, most_bytes: int) -> Path:
    """Whole presidential messages, the newest first, as files."""
    documents = [text for text, _ in documents_of("demo:speeches")][::-1]
    return written(folder, documents, most_bytes)


def written_chats(folder: Path, most_bytes: int) -> tuple[Path, list[str]]:
    """The words of chats as plain texts, some to a file; and those of others, for prompts."""
    chats = ["\n".join(said for _, said in turns(text)) for text, _ in documents_of("demo:chat")]
    kept = int(len(chats) * HELD_BACK)
    joined = ["\n\n".join(chats[at : at + CHATS_A_FILE]) for at in range(kept, len(chats), CHATS_A_FILE)]
    return written(folder, joined, most_bytes), chats[:kept]


def documents_of(source: str) -> Iterator[tuple[str, str]]:
    """(text, origin) of the documents of a demo source."""
    parts: list[str] = []
    for found in gather([source], GatherConfig()):
        if not isinstance(found, Item):
            continue  # a chat in which one person speaks alone
        parts = [*parts, found.content] if found.piece else [found.content]
        if found.last:
            yield "".join(parts), found.origin


def written(folder: Path, documents: Sequence[str], most_bytes: int) -> Path:
    folder.mkdir()
    size = 0
    for number, text in enumerate(documents):
        content = text.encode()
        if size + len(content) > most_bytes:
            break
        (folder / f"{number:05}.txt").write_bytes(content)
        size += len(content)
    return folder


def spread(documents: Sequence[str], count: int) -> list[str]:
    """So many prompts from all over the documents, in no order: up to `PROMPT` characters from where a line begins.

    In the order of the messages they would change from one president's to the next, and `monitor` says so.
    """
    lines = [
        line.strip()[:PROMPT] for text in documents for line in text.split("\n") if len(line.strip()) > 20
    ]
    step = max(len(lines) / count, 1e-9)
    chosen = [lines[int(at * step) % len(lines)] for at in range(count)]
    random.Random(1).shuffle(chosen)
    return chosen


def _held_out(dataset: Path) -> int:
    return len(Dataset.open(dataset).documents("test"))


def _settings(asked: argparse.Namespace) -> dict[str, Any]:
    return {key: str(value) if isinstance(value, Path) else value for key, value in vars(asked).items()}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
