"""Cross-fitting: every target is read with a table that has not counted it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.conftest import TINY

from bowerbird import lifecycle
from bowerbird.data.dataset import Dataset, batch, window_starts
from bowerbird.kinds.loaded import Model
from bowerbird.kinds.text import build_learner, build_network, validate
from bowerbird.kinds.text_settings import TextRun
from bowerbird.learning.parts import count_parts, number_of_parts, part_numbers
from bowerbird.models.ngrams import NGrams, count, gram_keys, together

V = 9
TOKENS = np.random.default_rng(1).integers(0, V, 1000)


def test_every_part_is_counted_once_and_together_they_are_the_whole() -> None:
    ngrams = NGrams(3, V, 4)
    parts = count_parts(ngrams, TOKENS)
    assert len(parts) == number_of_parts(len(TOKENS)) > 1
    whole = parts[0]
    for part in parts[1:]:
        whole = together(whole, part)
    for mine, theirs in zip(whole, count(gram_keys(TOKENS, 3, V)), strict=True):
        assert np.array_equal(mine, theirs)


@pytest.mark.parametrize("step", [0, 3, 17])
def test_a_target_s_part_is_the_one_that_counted_it(step: int) -> None:
    parts = number_of_parts(len(TOKENS))
    bounds = [-(-part * len(TOKENS) // parts) for part in range(parts + 1)]
    starts = window_starts(len(TOKENS), 5, step, 4, 30)
    numbers = part_numbers(starts, 30, len(TOKENS))
    windows = batch(TOKENS, 5, step, 4, 30)
    for row in range(4):
        for offset in range(30):
            place = (int(starts[row]) + offset + 1) % len(TOKENS)
            assert TOKENS[place] == windows[row, offset + 1]
            assert bounds[numbers[row, offset]] <= place < bounds[numbers[row, offset] + 1]


def sea(folder: Path, name: str, line: str) -> Dataset:
    noise = np.random.default_rng(len(line))
    words = line.split()
    text = "\n".join(" ".join(noise.choice(words, 6)) for _ in range(300))
    (folder / f"{name}.txt").write_text(text)
    return lifecycle.prepare(folder / f"{name}.txt", folder / name)


def test_training_does_not_ask_a_table_about_what_it_was_counted_on(tmp_path: Path) -> None:
    letters = np.random.default_rng(3).choice(list("abcdefgh"), 4000)  # nothing to learn but by heart
    (tmp_path / "noise.txt").write_text("".join(letters))
    data = lifecycle.prepare(tmp_path / "noise.txt", tmp_path / "noise")
    config = TextRun.model_validate({"batch_size": 4, "length": 32, "model": {"width": 8, "ngrams": 6}})
    network = build_network(config.model.model_dump(), data.codec)
    learner = build_learner(network, config, data)
    windows = batch(data.tokens("train"), config.seed, 0, 4, 32)
    tokens = torch.from_numpy(windows)
    with torch.no_grad():
        sure, _ = network(tokens[:, :-1], network.start(4))
        loss = float(torch.nn.functional.cross_entropy(sure.flatten(0, 1), tokens[:, 1:].flatten()))
    assert learner.step(windows, 0, 0.02)["loss"] > loss + 0.5


def test_without_a_valid_split_training_text_is_judged_as_if_it_were_new(tmp_path: Path) -> None:
    letters = np.random.default_rng(3).choice(list("abcdefgh"), 4000)
    (tmp_path / "noise.txt").write_text("".join(letters))
    data = lifecycle.prepare(
        tmp_path / "noise.txt", tmp_path / "noise", settings=["split.valid=0", "split.test=0"]
    )
    config = TextRun.model_validate({"batch_size": 4, "length": 32, "model": {"width": 8, "ngrams": 6}})
    network = build_network(config.model.model_dump(), data.codec)
    build_learner(network, config, data)
    assert validate(network, data, None).loss > 2.0, "eight letters drawn at random cost 2.08 nats each"


def test_fine_tuning_adds_the_new_text_to_the_counts(tmp_path: Path) -> None:
    old = sea(tmp_path, "sea", "the sea is wide and the sky is blue over all of it")
    new = sea(tmp_path, "hills", "the hills are high and the wood is dark")
    settings = [*TINY, "model.ngrams=4"]
    base = lifecycle.train(old, tmp_path / "base", steps=2, settings=settings)
    tuned = lifecycle.finetune(base.path, new, tmp_path / "tuned", steps=2)
    grams = {run.path.name: _counts(lifecycle.load(run.path)) for run in (base, tuned)}
    assert set(grams["base"]) < set(grams["tuned"])
    assert all(grams["tuned"][gram] >= times for gram, times in grams["base"].items())
    more = sum(grams["tuned"].values()) - sum(grams["base"].values())
    assert more == len(tuned.dataset().tokens("train"))


def _counts(model: Model) -> dict[int, int]:
    grams, counts = model.network.ngrams.counted()  # type: ignore[union-attr,operator]
    return dict(zip(grams.tolist(), counts.tolist(), strict=True))
