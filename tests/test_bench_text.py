"""The text benchmark's baselines are what they claim to be, and its scores count every byte once."""

from __future__ import annotations

import json
import math
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bowerbird.data.dataset import Dataset
from text_bench.plain_lstm import PlainLSTM
from text_bench.scoring import lstm_scores, scored_windows, touched_bytes, transformer_scores
from text_bench.training import PlainLSTMPupil, learn
from text_bench.transformer import CONTEXT, CachedReader, Transformer

VOCABULARY = 30
SCRIPT = Path(__file__).resolve().parent.parent / "benchmarks" / "text.py"


@pytest.fixture
def transformer() -> Transformer:
    torch.manual_seed(1)
    network = Transformer(VOCABULARY).eval()
    with torch.no_grad():  # larger than at the start of training, so that a wrong place shows
        for weight in network.parameters():
            weight.mul_(4)
    return network


def test_no_later_token_changes_an_earlier_answer(transformer: Transformer) -> None:
    tokens = torch.randint(VOCABULARY, (2, CONTEXT))
    changed = tokens.clone()
    changed[:, 40] = (changed[:, 40] + 1) % VOCABULARY
    before, after = transformer(tokens), transformer(changed)
    torch.testing.assert_close(before[:, :40], after[:, :40])
    assert (before[:, 40:] - after[:, 40:]).abs().amax((0, 2)).min() > 1e-4


def test_reading_with_a_cache_gives_the_plain_answer(transformer: Transformer) -> None:
    tokens = torch.randint(VOCABULARY, (3, 3 * CONTEXT))
    reader = CachedReader(transformer, 3)
    first = 0  # the oldest token the cache holds
    for place in range(tokens.shape[1]):
        if place - first == CONTEXT:
            first = place + 1 - CONTEXT // 2
        plain = transformer(tokens[:, first : place + 1])[:, -1]
        torch.testing.assert_close(reader.read(tokens[:, place]), plain, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("length", [1, 15, 63, 64, 65, 80, 200])
@pytest.mark.parametrize("stride", [16, 64])
def test_windows_score_every_place_once(length: int, stride: int) -> None:
    windows = scored_windows(length, 64, stride)
    assert [place for _, first, end in windows for place in range(first, end)] == list(range(length))
    assert all(0 <= start <= first and end - start <= 64 for start, first, end in windows)


def test_scores_pay_for_every_byte_and_token_once(tiny_dataset: Path) -> None:
    dataset = Dataset.open(tiny_dataset)
    size = dataset.codec.vocab_size
    alike = {
        **transformer_scores(flat(Transformer(size)), dataset),
        **lstm_scores(flat(PlainLSTM(size)), dataset),
    }
    for paid in alike.values():
        assert paid.bytes == dataset.info["splits"]["valid"]["bytes"]
        assert (
            paid.tokens == dataset.info["splits"]["valid"]["tokens"]
        )  # a given marker in, an end marker out
        assert paid.nats == pytest.approx(paid.tokens * math.log(size), rel=1e-5)


def test_a_baseline_learns_by_the_clock_and_keeps_its_best(tiny_dataset: Path) -> None:
    dataset = Dataset.open(tiny_dataset)
    pupil = PlainLSTMPupil(dataset, 1)
    found = learn(pupil, 0.6)
    assert found.steps > 0
    assert found.finite
    assert found.best == min(bits for _, bits in found.curve) < found.curve[0][1]
    PlainLSTM(dataset.codec.vocab_size).load_state_dict(found.weights)
    assert learn(PlainLSTMPupil(dataset, 1), 0.05, evaluate=False).weights == {}


def flat(network: torch.nn.Module) -> torch.nn.Module:
    """All tokens equally likely."""
    with torch.no_grad():
        for weight in network.parameters():
            weight.zero_()
    return network


def test_touched_bytes_leave_out_rows_that_are_looked_up() -> None:
    plain = PlainLSTM(VOCABULARY)
    all_of_it = sum(weight.numel() for weight in plain.parameters())
    assert touched_bytes(plain) == 4 * (all_of_it - plain.embedding.weight.numel())
    tied = Transformer(VOCABULARY)
    all_of_it = sum(weight.numel() for weight in tied.parameters())
    assert touched_bytes(tied) == 4 * (all_of_it - tied.positions.weight.numel())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--texts", "chatt"], "did you mean `chat`?"),
        (["--texts", "missing.txt"], "there is no such text file"),
        (["--texts", "names"], "--data DIR"),
        (["--texts", "chat", "--contestants", "ours,lstmm"], "did you mean `lstm`?"),
        (["--texts", "chat", "--minutes", "0"], "--minutes must be more than 0"),
        (["--texts", "chat", "--lengths", "many"], "--lengths many"),
        (["--texts", "chat", "--summary-only"], "no finished cell"),
    ],
)
def test_wrong_input_is_told_before_any_work(
    given: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main = runpy.run_path(str(SCRIPT))["main"]
    assert main([*given, "--out", str(tmp_path / "out")]) != 0
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.fixture
def small_text(tmp_path: Path) -> Path:
    path = tmp_path / "small.txt"
    path.write_text("".join(f"{number} of the larks sang {number % 7} times\n" for number in range(600)))
    return path


def bench(out: Path, text: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), "--out", str(out), "--texts", str(text), "--minutes", "0.05"]
    command += ["--seeds", "1", "--threads", "1", "--lengths", "1:20,64:2", *options]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ))


@pytest.mark.slow
def test_a_whole_benchmark_runs_and_goes_on_where_it_was(small_text: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = bench(out, small_text, "--probe-seconds", "1", "--contestants", "transformer,ours")
    assert first.returncode == 0, first.stderr
    cells = (out / "cells.jsonl").read_text().splitlines()
    assert [json.loads(line)["contestant"] for line in cells] == ["transformer", "ours"]
    (out / "cells.jsonl").write_text("\n".join([*cells, '{"text": "cut sho']))

    second = bench(out, small_text)
    assert second.returncode == 0, second.stderr
    kept = [line for line in (out / "cells.jsonl").read_text().splitlines() if line.endswith("}")]
    assert kept[:2] == cells
    assert [json.loads(line)["contestant"] for line in kept] == ["transformer", "ours", "lstm"]
    summary = json.loads((out / "summary.json").read_text())
    assert set(summary["results"]["small"]) == {"ours", "transformer", "lstm"}
    assert all(0 < found["bits_per_byte"] < 8 for found in summary["results"]["small"].values())
    assert set(summary["decode"]["contestants"]) == {"ours", "transformer", "lstm"}
    assert (out / "curves.png").stat().st_size > 5000
    assert "bowerbird against nn.LSTM" in second.stdout

    other = bench(out, small_text, "--minutes", "0.1")
    assert other.returncode == 2
    assert "this folder holds results for minutes 0.05" in other.stderr
