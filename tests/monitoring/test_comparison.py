"""A trial: what tells against a challenger, what is too little, and that an equal one is rarely found worse."""

from __future__ import annotations

from dataclasses import replace
from math import comb
from typing import Any

import numpy as np
import pytest
from tests.untrained_bundles import text_model

from bowerbird import lifecycle
from bowerbird.kinds.loaded import Model
from bowerbird.kinds.surprise import surprises
from bowerbird.monitoring.comparison import Comparison, compare, fisher
from bowerbird.monitoring.events import Event
from bowerbird.monitoring.feedback import Verdict
from bowerbird.monitoring.policy import Policy
from bowerbird.store.rollout import Rollout

POLICY = Policy(least_requests=50, least_hours=1.0)
HOUR = 3600.0


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Model]:
    folder = tmp_path_factory.mktemp("models")
    return lifecycle.load(text_model(folder / "live")), lifecycle.load(text_model(folder / "new", width=16))


def trial(models: tuple[Model, Model], mode: str = "share") -> Rollout:
    return Rollout.model_validate(
        {
            "name": "poems",
            "version": 2,
            "digest": models[1].digest,
            "live_version": 1,
            "live_digest": models[0].digest,
            "mode": mode,
            "share": 0.5,
            "since": 1000.0,
        }
    )


def events(digest: str, arm: str, count: int, failed: int = 0, **more: Any) -> list[Event]:
    return [
        Event(
            id=f"{arm}-{number}",
            time=1000.0 + number,
            model="poems@live",
            digest=digest,
            kind="text",
            path="/v1/completions",
            arm=arm,  # type: ignore[arg-type]
            status=500 if number < failed else 200,
            seconds=0.1,
            **more,
        )
        for number in range(count)
    ]


def votes(digest: str, up: int, down: int) -> list[Verdict]:
    return [
        Verdict(
            id=f"fb-{digest}-{number}",
            time=1000.0 + number,
            model="poems@live",
            digest=digest,
            answer=f"a-{digest}-{number}",
            owner="",
            prompt="",
            text="x",
            rating=1.0 if number < up else -1.0,
        )
        for number in range(up + down)
    ]


def compared(
    models: tuple[Model, Model],
    *,
    hours: float = 2.0,
    mode: str = "share",
    live: Any = (100, 0),
    new: Any = (100, 0),
    live_votes: Any = (0, 0),
    new_votes: Any = (0, 0),
    policy: Policy = POLICY,
) -> Comparison:
    rollout = trial(models, mode)
    arm = "shadow" if mode == "shadow" else "challenger"
    found = [*events(rollout.live_digest, "live", *live), *events(rollout.digest, arm, *new)]
    given = [*votes(rollout.live_digest, *live_votes), *votes(rollout.digest, *new_votes)]
    now = 1000.0 + hours * HOUR
    return compare(rollout, found, given, policy, live=models[0], challenger=models[1], now=now)


def test_the_exact_test_is_fisher_s() -> None:
    wanted = sum(comb(10, hits) * comb(12, 9 - hits) for hits in range(7, 10)) / comb(22, 9)
    assert fisher(7, 10, 2, 12) == pytest.approx(wanted)
    assert fisher(0, 10, 5, 10) == pytest.approx(1.0)
    assert fisher(0, 0, 5, 10) == 1.0


@pytest.mark.parametrize("mode", ["share", "shadow"])
def test_an_equal_challenger_is_not_worse(models: tuple[Model, Model], mode: str) -> None:
    found = compared(models, mode=mode, live=(100, 1), new=(100, 1), live_votes=(20, 5), new_votes=(18, 6))
    assert found.finding == "not worse"
    assert (found.live.requests, found.challenger.requests) == (100, 100)
    assert found.to_json()["challenger"]["up_share"] == 0.75


def test_failures_and_bad_verdicts_tell_against_it(models: tuple[Model, Model]) -> None:
    found = compared(models, new=(100, 20))
    assert found.finding == "worse"
    assert "20 of 100 requests failed" in found.why
    found = compared(models, live_votes=(40, 5), new_votes=(10, 35))
    assert found.finding == "worse"
    assert "35 of 45 verdicts are bad" in found.why


def test_too_little_is_no_finding_but_great_harm_is_seen_at_once(models: tuple[Model, Model]) -> None:
    assert compared(models, hours=0.5).finding == "too little"
    assert "0.5 of 1 hours" in compared(models, hours=0.5).why
    assert compared(models, new=(10, 0)).finding == "too little"
    assert compared(models, new=(10, 1), hours=0.5).finding == "too little"
    assert compared(models, new=(30, 25), hours=0.1).finding == "worse"


def test_other_arms_digests_and_times_are_left_out(models: tuple[Model, Model]) -> None:
    rollout = trial(models)
    found = [
        *events(rollout.live_digest, "live", 10),
        *events("sha256:other", "challenger", 10, 10),
        *events(rollout.digest, "shadow", 10, 10),
        *(replace(event, time=999.0) for event in events(rollout.digest, "challenger", 10, 10)),
    ]
    seen = compare(rollout, found, [], POLICY, live=models[0], challenger=models[1], now=2000.0)
    assert (seen.live.requests, seen.challenger.requests) == (10, 0)


def test_prompts_that_it_expects_worse_tell_against_it(models: tuple[Model, Model]) -> None:
    live, other = models
    texts = [f"the lark was under the {word} stone" for word in "abcdefghijklmnopqrstuvwxy"]
    bits = [sum(spent.bits[-1] for spent in surprises(model, texts)) for model in models]
    worse, fine = (other, live) if bits[1] > bits[0] else (live, other)
    pair = fine, worse
    rollout = trial(pair)
    found = [
        event
        for digest, arm in ((rollout.live_digest, "live"), (rollout.digest, "challenger"))
        for event, text in zip(events(digest, arm, 100), texts * 4, strict=True)
        for event in [replace(event, prompt=text)]
    ]
    strict = POLICY.model_copy(update={"margin": 0.0})
    seen = compare(rollout, found, [], strict, live=fine, challenger=worse, now=1000.0 + 2 * HOUR)
    assert seen.prompts is not None
    assert seen.prompts["n"] == len(texts)
    assert seen.prompts["value"] > 0
    assert seen.finding == "worse"
    other_way = {fine.digest: worse.digest, worse.digest: fine.digest}
    found = [replace(event, digest=other_way[event.digest]) for event in found]
    rollout = trial((worse, fine))
    seen = compare(rollout, found, [], strict, live=worse, challenger=fine, now=1000.0 + 2 * HOUR)
    assert seen.finding == "not worse"


def test_a_challenger_that_is_as_good_is_rarely_found_worse(models: tuple[Model, Model]) -> None:
    """200 trials with equal failures and verdicts, each looked at once it has seen enough: at most alpha of them."""
    rng = np.random.default_rng(5)
    found = [
        compared(
            models,
            live=(100, int(rng.binomial(100, 0.05))),
            new=(100, int(rng.binomial(100, 0.05))),
            live_votes=(ups := int(rng.binomial(40, 0.7)), 40 - ups),
            new_votes=(ups := int(rng.binomial(40, 0.7)), 40 - ups),
        ).finding
        for _ in range(200)
    ]
    assert found.count("worse") <= 200 * POLICY.alpha
