"""The benchmark of serving reads answers as they came, counts what it should, and sees claims that are false."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bowerbird import lifecycle
from bowerbird.base.errors import BowerbirdError, NotFound, UnknownName, UsageError
from bowerbird.data.dataset import Dataset
from serve import bench_of, cells, parse, source_of
from serve_bench import environments, exact, long, schema, soak, swap
from serve_bench.answers import Answer, read
from serve_bench.claims import Verdict
from serve_bench.client import Connection, Exchange, get, open_many, post
from serve_bench.driving import CUT, Driven, drive
from serve_bench.environments import Needed
from serve_bench.load import percentile, seen, weighted
from serve_bench.running import SHAPES, Bench, gpt2_parameters, gpt2_shape
from serve_bench.server import Server, ours, running
from serve_bench.summary import claims, gathered, markdown, write_summary
from serve_bench.swap import Swapped
from serve_bench.trouble import TROUBLES
from workplace import Failed

SCRIPT = Path(__file__).resolve().parent.parent / "benchmarks" / "serve.py"
HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
)


def event(text: str, finish: str | None = None, print_: str = "bb_1") -> bytes:
    choice = {"text": text, "index": 0, "finish_reason": finish}
    return b"data: " + json.dumps({"choices": [choice], "system_fingerprint": print_}).encode() + b"\n\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


STREAM = HEAD + chunk(event("one ")) + chunk(event("tw") + event("o", "length")) + chunk(b"data: [DONE]\n\n")
WHOLE = STREAM + b"0\r\n\r\n"


def exchange(
    *pieces: tuple[float, bytes], sent: float = 10.0, failed: str | None = None, label: Any = (0, 0)
) -> Exchange:
    ended = None if failed else pieces[-1][0]
    return Exchange(sent, label, list(pieces), ended, failed)


@pytest.mark.parametrize("size", [1, 3, 7, 50, 10_000])
def test_an_answer_is_the_same_however_its_bytes_arrive(size: int) -> None:
    pieces = [(11.0 + start / 1000, WHOLE[start : start + size]) for start in range(0, len(WHOLE), size)]
    answer = read(exchange(*pieces))
    assert (answer.status, answer.text, answer.finish, answer.done, answer.whole) == (
        200,
        "one two",
        "length",
        True,
        True,
    )
    assert answer.fingerprints == {"bb_1"}
    assert answer.first is not None
    assert answer.first >= 1.0


def test_text_has_the_time_when_its_last_byte_came() -> None:
    second = STREAM.index(b"tw")
    answer = read(exchange((11.0, WHOLE[:second]), (12.5, WHOLE[second:])))
    assert [(round(seconds, 6), text) for seconds, text in answer.pieces] == [
        (1.0, "one "),
        (2.5, "tw"),
        (2.5, "o"),
    ]


def test_an_answer_that_was_cut_has_what_came_of_it() -> None:
    answer = read(exchange((11.0, STREAM[: STREAM.index(b"tw") + 1]), failed=CUT))
    assert (answer.text, answer.finish, answer.done, answer.whole) == ("one ", None, False, False)
    assert read(Exchange(1.0, failed="the connection was lost")).status == 0


def test_an_error_is_read_in_a_stream_and_in_a_body() -> None:
    told = {"error": {"message": "no", "type": "t", "param": None, "code": None}}
    body = json.dumps(told).encode()
    plain = b"HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(
        body
    )
    answer = read(exchange((11.0, plain + body)))
    assert (answer.status, answer.error, answer.whole) == (404, told["error"], False)
    streamed = HEAD + chunk(b"data: " + body + b"\n\n") + chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"
    assert read(exchange((11.0, streamed))).error == told["error"]


def talk(answers: list[list[bytes]], act: Callable[[str], Awaitable[Any]]) -> Any:
    """Act with a server on this machine that says these pieces to each request, and closes after the last."""

    async def whole() -> Any:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                for pieces in answers:
                    await reader.readuntil(b"\r\n\r\n")
                    for piece in pieces:
                        writer.write(piece)
                        await writer.drain()
                        await asyncio.sleep(0.002)
            except (asyncio.IncompleteReadError, ConnectionError):  # the client left
                pass
            finally:
                writer.close()
                ended.set()

        ended = asyncio.Event()
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            found = await act(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
            await ended.wait()
            return found

    return asyncio.run(whole())


def test_a_connection_is_kept_for_one_request_after_another() -> None:
    plain = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
    cut = [WHOLE[:40], WHOLE[40:-3], WHOLE[-3:]]

    async def act(url: str) -> list[Exchange]:
        connection = await Connection.open(url)
        found = [await connection.ask(get(url, "/"), label=number) for number in range(3)]
        connection.leave()
        return found

    found = talk([cut, [plain[:20], plain[20:]], [WHOLE]], act)
    assert [one.failed for one in found] == [None] * 3
    assert [one.label for one in found] == [0, 1, 2]
    assert [read(one).done for one in found] == [True] * 3


def test_a_lost_connection_and_one_left_are_told() -> None:
    async def act(url: str) -> tuple[Exchange, Exchange, Exchange]:
        lost, left = await open_many(url, 2)
        one = await lost.ask(get(url, "/"))
        waiting = left.ask(get(url, "/"))
        left.leave()
        return one, await waiting, await lost.ask(get(url, "/"))

    lost, left, after = talk([[STREAM]], act)
    assert lost.failed is not None
    assert "lost" in lost.failed
    assert lost.ended is None
    assert left.failed == "the client left"
    assert after.failed == "the connection is closed"


def test_percentiles_are_values_that_were_there() -> None:
    assert [percentile([3.0, 1.0, 2.0, 4.0], share) for share in (1, 50, 75, 99)] == [1.0, 2.0, 3.0, 4.0]
    assert percentile([], 50) is None
    assert weighted([(1.0, 98), (5.0, 2)], 98) == 1.0
    assert weighted([(1.0, 98), (5.0, 2)], 99) == 5.0


def test_what_readers_saw_is_counted() -> None:
    second = STREAM.index(b"tw")
    driven = Driven(
        exchanges=[
            exchange((10.5, WHOLE[:second]), (11.0, WHOLE[second:])),
            exchange((12.0, WHOLE), label=(0, 1)),
            exchange((11.0, STREAM[:second]), failed=CUT, label=(1, 0)),
            exchange((11.0, HEAD), failed=CUT, label=(2, 0)),
            exchange((11.0, STREAM), failed="the connection was lost", label=(3, 0)),
        ],
        seconds=2.0,
    )
    found = seen(driven, 30.0)
    assert found["tokens_made"] == 7 + 7 + 4 + 0 + 7
    assert found["tokens_per_second"] == 25 / 2
    assert (found["requests"], found["whole"], found["cut"], found["failed"]) == (5, 2, 2, 1)
    assert found["failures"] == ["200: the connection was lost"]
    assert found["first_token_seconds"]["99"] == 30.0, "one that never came counts as the limit"
    assert found["first_token_at_once_seconds"]["50"] == 1.0
    assert found["piece_seconds"]["99"] == 0.5
    assert found["token_seconds"]["99"] == 0.25, "two letters after half a second"


def test_the_plain_server_s_network_has_as_many_parameters_as_ours() -> None:
    assert gpt2_parameters(12, 768, 50257, 1024) == 124_439_808, "GPT-2 small, as everybody counts it"
    for parameters in (1_000_000, 10_000_000):
        shape = gpt2_shape(parameters, 90, 232)
        assert shape["width"] % shape["heads"] == 0
        found = gpt2_parameters(shape["layers"], shape["width"], 90, shape["positions"])
        assert abs(found - parameters) < 0.06 * parameters


def cell(contestant: str = "ours", streams: int = 64, **changed: Any) -> dict[str, Any]:
    times = {"50": 0.01, "95": 0.04, "99": 0.2}
    return {
        "size": "1m",
        "contestant": contestant,
        "streams": streams,
        "repeat": 1,
        "seconds": 5.0,
        "most_seconds": 30.0,
        "tokens": 200,
        "cores": 1,
        "options": [],
        "source": "0123456789",
        "tokens_per_second": 26_000.0 if contestant == "ours" else 400.0,
        "measured_seconds": 5.0,
        "requests": 640,
        "whole": 640,
        "failed": 0,
        "cut": 0,
        "failures": [],
        "first_token_seconds": times,
        "first_token_at_once_seconds": times,
        "token_seconds": {"50": 0.002, "99": 0.003},
        "piece_seconds": {"50": 0.02, "99": 0.03},
        "tokens_a_piece": 8.0,
        "parameters": 1_000_000,
        "idle_bytes": 200_000_000,
        "peak_bytes": 300_000_000,
        "client_seconds": 0.5,
        **changed,
    }


def judged(*some: dict[str, Any]) -> dict[str, bool]:
    return {claim.what: claim.holds for claim in claims(gathered(some))}


def test_claims_follow_from_the_cells() -> None:
    found = judged(cell(), cell("transformers"))
    assert len(found) == 5
    assert all(found.values())
    slow = judged(cell(tokens_per_second=24_000.0), cell("transformers", tokens_per_second=2_500.0))
    assert [what for what, holds in slow.items() if not holds] == [
        "1m, 64 streams: 25,000 tokens/s or more",
        "1m, 64 streams: 10 times FastAPI + transformers or more",
    ]
    late = judged(
        cell(
            first_token_seconds={"50": 0.01, "95": 0.06, "99": 0.2},
            peak_bytes=360_000_000,
            whole=639,
            failed=1,
        )
    )
    assert not any(list(late.values())[1:])
    assert judged(cell("transformers", whole=0)) == {}, "nothing is claimed of others"


def test_repeats_are_gathered_by_their_median() -> None:
    rates = [20_000.0, 26_000.0, 25_000.0]
    [found] = gathered(
        [cell(repeat=number, tokens_per_second=rate) for number, rate in enumerate(rates)]
    ).values()
    assert found["tokens_per_second"] == 25_000
    assert found["tokens_per_second_range"] == [20_000, 26_000]
    assert found["requests"] == 3 * 640


def test_the_summary_is_a_table_of_the_docs(tmp_path: Path) -> None:
    machine = {
        "processor": "p",
        "threads": 1,
        "processors": 2,
        "flags": [],
        "torch": "2",
        "commit": "0123456789",
    }
    machine |= {"date": "today", "peak_flops": {"float32": 1e9}, "load_at_start": 0.0}
    (tmp_path / "machine.json").write_text(json.dumps(machine))
    (tmp_path / "text.json").write_text(json.dumps({"source": "input.txt", "vocabulary": 90}))
    told = [cell(), cell("transformers"), cell(source="older", tokens_per_second=1.0)]
    (tmp_path / "cells.jsonl").write_text("".join(json.dumps(one) + "\n" for one in told))
    wanted = {"tokens": 200, "cores": 1, "options": [], "source": "0123456789"}
    verdict, lines = write_summary(tmp_path, wanted)
    assert verdict.holds
    rows = [line for line in lines if line.startswith("| 64")]
    assert rows[0].startswith("| 64 | bowerbird | 26,000 | 10 / 40 / 200 |")
    assert len(rows) == 2
    assert "times: 65.0 at 64" in lines[-2]
    assert (tmp_path / "table.md").read_text() == "\n".join(lines)
    other, _ = write_summary(tmp_path, {**wanted, "source": "older"})
    assert not other.holds
    with pytest.raises(NotFound):
        write_summary(tmp_path, {**wanted, "tokens": 7})


def test_a_table_has_a_line_under_its_head() -> None:
    assert markdown([["1", "2"]], ("a", "b")) == ["| a | b |", "| --- | --- |", "| 1 | 2 |"]


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (["--models", "2m"], UnknownName),
        (["--models", ","], UsageError),
        (["--streams", "1,x"], UsageError),
        (["--streams", "0"], UsageError),
        (["--cores", "1000"], UsageError),
        (["--tokens", "0"], UsageError),
        (["--contestants", "vllm"], UnknownName),
        (["--data", "nowhere"], NotFound),
    ],
)
def test_what_makes_no_sense_is_refused(given: list[str], error: type[BowerbirdError]) -> None:
    def asked() -> None:
        options = parse(given)
        bench_of(options)
        cells(options)

    with pytest.raises(error):
        asked()


def test_contestants_take_turns() -> None:
    found = cells(parse(["--models", "1m", "--streams", "1,8", "--repeats", "2"]))
    assert [(one.repeat, one.streams, one.contestant) for one in found] == [
        (repeat, streams, contestant)
        for repeat in (1, 2)
        for streams in (1, 8)
        for contestant in ("ours", "transformers")
    ]


def test_a_changed_source_is_measured_anew() -> None:
    assert source_of({"commit": "0123", "date": "today"}) == "0123"
    assert source_of({"commit": "0123+", "date": "today"}) != source_of(
        {"commit": "0123+", "date": "tomorrow"}
    )


def test_a_verdict_says_each_claim_and_what_was_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    verdict = Verdict("small", figures={"a": 1})
    verdict.claim("it is there", True, "3 of 3")
    assert verdict.holds
    verdict.claim("it is quick", False, "9 s")
    verdict.tell(tmp_path)
    assert not verdict.holds
    out = capsys.readouterr().out
    assert "small: NOT ALL CLAIMS HOLD" in out
    assert "FALSE: it is quick: 9 s" in out
    told = json.loads((tmp_path / "small.json").read_text())
    assert (told["holds"], told["figures"], len(told["claims"])) == (False, {"a": 1}, 2)


def test_exact_sees_an_answer_of_another_seed_and_one_that_is_missing() -> None:
    driven = Driven(exchanges=[exchange((11.0, WHOLE), label=(stream, 0)) for stream in range(2)])
    right, wrong, short = Verdict("exact"), Verdict("exact"), Verdict("exact")
    exact.judge_answers(right, driven, {0: "one two", 1: "one two"}, 7)
    exact.judge_answers(wrong, driven, {0: "one two", 1: "one too"}, 7)
    driven.exchanges[1] = exchange((11.0, STREAM), failed=CUT, label=(1, 0))
    exact.judge_answers(short, driven, {0: "one two", 1: "one two"}, 7)
    assert [[claim.holds for claim in one.claims] for one in (right, wrong, short)] == [
        [True, True],
        [True, False],
        [False, True],
    ]


def swapped(*told: tuple[float, float, str]) -> list[tuple[Exchange, Answer]]:
    """Answers sent and ended then, by the model of this fingerprint; of nobody where it is empty."""
    return [
        (
            Exchange(sent, seed, [], ended),
            Answer(status=200, finish="length", done=True, fingerprints=set(print_.split())),
        )
        for seed, (sent, ended, print_) in enumerate(told)
    ]


@pytest.mark.parametrize(
    ("answers", "false"),
    [
        (swapped((1, 4, "old"), (2, 12, "old"), (11, 13, "new")), []),
        (swapped((1, 4, "old"), (2, 12, "old new"), (3, 12, "old"), (11, 13, "new")), [1]),
        (swapped((2, 12, "old"), (8, 12, "new"), (11, 13, "new")), [2]),
        (swapped((2, 14, "old"), (11, 13, "new"), (12, 14, "old")), [3]),
        (swapped((2, 14, "old"), (11, 13, "old")), [2]),
    ],
)
def test_swap_sees_requests_that_begin_or_end_on_the_wrong_model(answers: Any, false: list[int]) -> None:
    verdict = Verdict("swap")
    swap.judge(verdict, answers, ("old", "new"), Swapped(asked=9.0, moved=10.0))
    assert [number for number, claim in enumerate(verdict.claims) if not claim.holds] == false


def test_swap_sees_a_dropped_request() -> None:
    verdict, answers = Verdict("swap"), swapped((2, 12, "old"), (11, 13, "new"))
    answers[0][1].finish = None
    swap.judge(verdict, answers, ("old", "new"), Swapped(asked=9.0, moved=10.0))
    assert not verdict.claims[0].holds


@pytest.mark.parametrize(("growth", "holds"), [(0, True), (1e3, True), (4e5, False)])
def test_soak_sees_memory_that_grows_after_the_first_minute(growth: float, holds: bool) -> None:
    memory = [
        (second, int(2e8 + 5e7 * min(second, 50) / 50 + growth * second)) for second in range(0, 600, 10)
    ]
    verdict = Verdict("soak")
    soak.judge_memory(verdict, memory)
    assert verdict.holds == holds


def test_slots_are_read_from_the_metrics() -> None:
    lines = [
        "# TYPE bowerbird_slots_used gauge",
        'bowerbird_slots_used{model="a"} 2.0',
        'bowerbird_slots_used{model="b"} 1.0',
    ]
    assert soak.slots_used("\n".join(lines)) == 3
    assert soak.slots_used("nothing") is None


@pytest.mark.parametrize(
    ("change", "false"),
    [({}, 0), ({"token_seconds": 2e-4}, 1), ({"bytes": 10}, 1), ({"growth_bytes": 9e6}, 1)],
)
def test_long_sees_a_session_that_costs_more(change: dict[str, Any], false: int) -> None:
    one = {"token_seconds": 1e-4, "first_seconds": 0.01, "bytes": 9, "growth_bytes": 1e6, "characters": 1000}
    verdict = Verdict("long")
    long.judge(verdict, "before", {long.SHORT: one, long.LONG: {**one, **change}})
    assert sum(not claim.holds for claim in verdict.claims) == false


def test_packages_are_installed_once_and_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environments.platformdirs, "user_cache_dir", lambda name: str(tmp_path / name))
    calls: list[list[str]] = []
    code = 1

    def install(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        calls.append(command)
        return subprocess.CompletedProcess(command, code, "", "ERROR: a\nERROR: no such package\n")

    monkeypatch.setattr(environments.subprocess, "run", install)
    monkeypatch.setattr(environments.venv, "create", made_up_environment)
    needed = Needed("something", "1.0", beside_ours=True)
    with pytest.raises(BowerbirdError, match="no such package"):
        environments.interpreter(needed)
    assert not list((tmp_path / "bowerbird").iterdir()), "nothing half-made is left"
    code = 0
    python = environments.interpreter(needed)
    assert python.exists()
    assert "something==1.0" in calls[-1]
    assert next(python.parent.parent.rglob("ours.pth")).read_text().strip().endswith("site-packages")
    assert environments.interpreter(needed) == python
    assert len(calls) == 2


def made_up_environment(home: Path, **options: Any) -> None:
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "python").touch()
    (home / "lib" / "python3" / "site-packages").mkdir(parents=True)


def test_schemathesis_cases_are_counted() -> None:
    text = "Test cases:\n  1,204 generated, 1,204 passed, 3 skipped\n"
    assert schema.cases_of(text) == 1204
    assert schema.cases_of("no schema") == 0


@pytest.fixture(scope="module")
def bench(tiny_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """A benchmark whose text is that of the tiny dataset."""
    out = tmp_path_factory.mktemp("bench")
    texts = "".join(Dataset.open(tiny_dataset).text("train", index) for index in range(3))
    (out / "text.txt").write_text(texts, encoding="utf-8")
    return Bench(out, None, ("tiny",), cores=1, tokens=12)


@pytest.fixture(scope="module")
def server(bench: Bench, tiny_run: Path) -> Iterator[Server]:
    with running(bench.place, ours([tiny_run]), "served") as server:
        yield server


def test_streams_of_our_server_are_what_their_seeds_give_alone(
    bench: Bench, server: Server, tiny_run: Path
) -> None:
    def ask(stream: int, made: int) -> bytes:
        return post(server.url, "/v1/completions", bench.asked("tiny", stream + 4 * made))

    driven = asyncio.run(drive(server, ask, streams=4, seconds=0.2, most_seconds=30.0))
    model = lifecycle.load(tiny_run)
    assert {one.label for one in driven.exchanges} >= {(stream, 0) for stream in range(4)}
    for one in driven.exchanges:
        seed = one.label[0] + 4 * one.label[1]
        [sample] = model.generate(
            prompt=bench.prompt(seed), seed=seed, length=12, temperature=0.8, top_p=0.95
        )
        assert read(one).whole
        assert read(one).text == sample.text
    assert driven.peak_bytes > 1e7
    assert driven.seconds > 0


def test_time_is_limited_and_what_runs_then_is_cut(bench: Bench, server: Server) -> None:
    def ask(stream: int, made: int) -> bytes:
        return post(server.url, "/v1/completions", bench.asked("tiny", stream, max_tokens=100_000))

    driven = asyncio.run(drive(server, ask, streams=2, seconds=0.0, most_seconds=0.3))
    assert seen(driven, 0.3)["failed"] == 0
    assert all(one.failed == CUT or read(one).whole for one in driven.exchanges)


def test_a_stream_that_is_refused_asks_no_more(bench: Bench, server: Server) -> None:
    def ask(stream: int, made: int) -> bytes:
        return post(server.url, "/v1/completions", bench.asked("nobody", stream))

    driven = asyncio.run(drive(server, ask, streams=3, seconds=5.0, most_seconds=9.0))
    found = seen(driven, 9.0)
    assert (found["requests"], found["failed"]) == (3, 3)
    assert found["failures"][0].startswith("404: there is no model `nobody`")


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda trouble: trouble.__name__)
def test_our_server_bears_every_trouble(bench: Bench, server: Server, trouble: Any) -> None:
    async def act(number: int) -> str | None:
        [connection] = await open_many(server.url, 1)
        request = post(server.url, "/v1/completions", bench.asked("tiny", number))
        found = await trouble(connection, server.url, request, random.Random(number))
        connection.leave()
        return found  # type: ignore[no-any-return]

    assert [asyncio.run(act(number)) for number in range(3)] == [None] * 3
    assert server.get("/health")[0] == 200


def test_a_soak_sees_an_answer_that_changed(bench: Bench, server: Server) -> None:
    async def act() -> soak.Soaked:
        found = soak.Soaked()
        asker = soak.Asker(bench, server, "tiny", found)
        await asker.plain(3)
        found.texts[4] = "something else"
        await asker.plain(4)
        asker.leave()
        return found

    found = asyncio.run(act())
    assert found.outcomes["whole"] == 1
    assert found.faults == ["seed 4: another text than before"]


def test_a_server_that_does_not_come_up_says_why(bench: Bench) -> None:
    with (
        pytest.raises(Failed, match="there is no such model"),
        running(bench.place, ours(["no/where"]), "none"),
    ):
        pass


@pytest.mark.slow
def test_the_benchmark_measures_and_checks_from_the_first_command_on(tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        told = ["--out", str(tmp_path), "--models", "tiny", "--contestants", "ours", *arguments]
        return subprocess.run([sys.executable, SCRIPT, *told], capture_output=True, text=True, check=False)

    assert set(SHAPES) >= {"1m", "10m", "tiny"}
    loaded = run("load", "--streams", "1,4", "--repeats", "1", "--seconds", "0.5", "--tokens", "30")
    assert loaded.returncode == 0, loaded.stderr
    assert len((tmp_path / "cells.jsonl").read_text().splitlines()) == 2
    assert "| streams | server | tokens/s |" in (tmp_path / "table.md").read_text()
    for name in ("exact", "term"):
        checked = run(name, "--most-streams", "20", "--some-streams", "8", "--tokens", "60")
        assert checked.returncode == 0, checked.stdout + checked.stderr
        assert json.loads((tmp_path / f"{name}.json").read_text())["holds"]
