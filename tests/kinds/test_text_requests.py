"""The fields of a text request that reach the session: bias and penalties, by token."""

from __future__ import annotations

from typing import Any

import pytest
from tests.untrained_bundles import LETTERS, text_model

import bowerbird as bb
from bowerbird.base.errors import UsageError
from bowerbird.kinds.loaded import Model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return bb.load(text_model(tmp_path_factory.mktemp("models") / "text"))


def token(model: Model, letter: str) -> int:
    return int(model.codec.encode(letter)[0])


def test_a_bias_makes_a_text_of_one_letter(model: Model) -> None:
    samples = model.generate(n=2, length=12, seed=1, logit_bias={token(model, "q"): 100})
    assert [sample.text for sample in samples] == ["q" * 12] * 2
    assert model.generate(length=5, seed=1, logit_bias={str(token(model, "q")): 100})[0].text == "qqqqq"


def test_a_presence_penalty_takes_each_letter_once_where_all_are_wanted_alike(model: Model) -> None:
    wanted = {token(model, letter): 50 for letter in "abcdef"}
    told: dict[str, Any] = {"length": 6, "logit_bias": wanted, "temperature": 0}
    once = model.generate(**told, frequency_penalty=2, presence_penalty=2)[0].text
    assert len(set(once)) > len(set(model.generate(**told)[0].text))


@pytest.mark.parametrize(
    "wrong",
    [
        {"logit_bias": {len(LETTERS) + 1000: 1}},
        {"logit_bias": {-1: 1}},
        {"logit_bias": {1: 101}},
        {"logit_bias": {1: float("nan")}},
        {"logit_bias": {"a": 1}},
        {"frequency_penalty": 2.1},
        {"presence_penalty": float("inf")},
    ],
    ids=str,
)
def test_a_bias_or_penalty_that_cannot_be_is_refused(model: Model, wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        model.generate(length=5, **wrong)
