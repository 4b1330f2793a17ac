"""The gates: each holds or lets through for the reason that it tells."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.untrained_bundles import text_model

from bowerbird.evaluation.evaluate import compare
from bowerbird.evaluation.report import Report, Score
from bowerbird.monitoring.gates import better, no_less_novel, not_worse, safe_files
from bowerbird.monitoring.policy import Policy
from bowerbird.store.signing import new_key, sign

POLICY = Policy()
SIZES = np.full(200, 1000.0)


def bits(level: float, seed: int = 1) -> np.ndarray[Any, Any]:
    """Of 200 blocks of 1,000 bytes: about `level` bits per byte, blocks hard for one model are for the other."""
    noise = np.random.default_rng(seed).normal(0, 200, 200)
    return level * SIZES + noise - noise.mean()


def score(name: str, value: float | None, **more: Any) -> Score:
    better_ = "lower" if name in ("bits_per_byte", "fid", "copied_share") else "higher"
    return Score(name, value, "bits/byte" if name == "bits_per_byte" else "share", better_, 1000, **more)


def report(challenger: float, live: float, *, novelty: float = 0.99, live_novelty: float = 0.99) -> Report:
    a, b = bits(challenger), bits(live)
    scores = [score("bits_per_byte", a.sum() / SIZES.sum()), score("novelty", novelty)]
    others = [score("bits_per_byte", b.sum() / SIZES.sum()), score("novelty", live_novelty)]
    rows = compare(scores, others, a, b, SIZES)
    return Report("challenger", "sha256:b", "text", "test", scores, comparison=rows, against="live")


def pictures(fid: float, live: float, copied: float = 0.01) -> Report:
    scores = [score("fid", fid), score("copied_share", copied)]
    rows = compare(scores, [score("fid", live), score("copied_share", 0.01)], None, None, None)
    return Report("challenger", "sha256:b", "image", "test", scores, comparison=rows, against="live")


@pytest.mark.parametrize(
    ("challenger", "live", "passes"),
    [(2.0, 2.0, True), (2.02, 2.0, True), (1.5, 2.0, True), (2.05, 2.0, False)],
)
def test_old_quality_may_be_worse_by_less_than_the_margin(
    challenger: float, live: float, passes: bool
) -> None:
    gate = not_worse(report(challenger, live), POLICY, "old data")
    assert gate.passed is passes
    assert f"{challenger:.2f}" in gate.why
    assert gate.numbers["allowed"] == pytest.approx(0.02 * gate.numbers["live"])


def test_it_is_the_worst_end_of_the_interval_that_counts() -> None:
    rng = np.random.default_rng(3)
    a, b = 2.01 * SIZES + rng.normal(0, 400, 200), 2.0 * SIZES + rng.normal(0, 400, 200)
    rows = compare(
        [score("bits_per_byte", a.sum() / SIZES.sum())], [score("bits_per_byte", 2.0)], a, b, SIZES
    )
    gate = not_worse(Report("c", "d", "text", "test", [], comparison=rows), POLICY, "old data")
    assert gate.numbers["value"] < gate.numbers["allowed"] < gate.numbers["interval"][1]
    assert not gate.passed


def test_new_data_must_be_expected_better_beyond_chance() -> None:
    assert better(report(1.8, 2.0), POLICY).passed
    assert not better(report(2.0, 2.0), POLICY).passed
    assert not better(report(2.2, 2.0), POLICY).passed
    assert not better(report(1.8, 2.0), Policy(least_gain=0.3)).passed


def test_too_little_held_out_is_no_pass() -> None:
    rows = compare([score("bits_per_byte", 1.0)], [score("bits_per_byte", 2.0)], [1000.0], [2000.0], [1000.0])
    alone = Report("c", "d", "text", "test", [], comparison=rows)
    for gate in (not_worse(alone, POLICY, "old data"), better(alone, POLICY)):
        assert not gate.passed
        assert "too little" in gate.why
    none = Report("c", "d", "text", "test", [], comparison=[])
    assert not not_worse(none, POLICY, "old data").passed
    assert not better(none, POLICY).passed


def test_pictures_are_compared_by_value_and_it_is_said() -> None:
    assert not_worse(pictures(5.05, 5.0), POLICY, "old data").passed
    assert not not_worse(pictures(5.2, 5.0), POLICY, "old data").passed
    gate = better(pictures(4.0, 5.0), POLICY)
    assert gate.passed
    assert "not tested" in gate.why
    assert no_less_novel([pictures(5.0, 5.0)], pictures(4.0, 5.0), POLICY).passed
    assert not no_less_novel([pictures(5.0, 5.0)], pictures(4.0, 5.0, copied=0.2), POLICY).passed


def test_copying_new_data_is_held() -> None:
    old = report(2.0, 2.0)
    assert no_less_novel([old], report(1.5, 2.0, novelty=0.96), POLICY).passed
    gate = no_less_novel([old], report(1.5, 2.0, novelty=0.80), POLICY)
    assert not gate.passed
    assert "20.00% is copied from the new data" in gate.why
    gate = no_less_novel([report(2.0, 2.0, novelty=0.7)], report(1.5, 2.0), POLICY)
    assert not gate.passed
    assert "old data" in gate.why


def test_what_people_repeat_themselves_is_no_copying() -> None:
    new = report(1.5, 2.0)
    repeated = [score("novelty", 0.8, reference=0.8) if one.name == "novelty" else one for one in new.scores]
    found = Report("c", "d", "text", "test", repeated, comparison=new.comparison)
    assert no_less_novel([report(2.0, 2.0)], found, POLICY).passed


def test_a_bundle_that_is_damaged_or_holds_more_than_data_is_held(tmp_path: Path) -> None:
    live, one = text_model(tmp_path / "live"), text_model(tmp_path / "one", width=16)
    assert safe_files(one, live, None).passed
    (one / "weights.safetensors").write_bytes(b"\x80\x04" + (one / "weights.safetensors").read_bytes())
    assert not safe_files(one, live, None).passed
    two = text_model(tmp_path / "two", width=16)
    (two / "run.py").write_text("print()")
    gate = safe_files(two, live, None)
    assert not gate.passed
    assert "run.py" in gate.why


def test_a_signed_version_is_followed_by_signed_ones_only(tmp_path: Path) -> None:
    live, one = text_model(tmp_path / "live"), text_model(tmp_path / "one", width=16)
    public = new_key(tmp_path / "key")
    sign(live, tmp_path / "key")
    gate = safe_files(one, live, None)
    assert not gate.passed
    assert "--key" in gate.why
    new_key(tmp_path / "other")
    sign(one, tmp_path / "other")
    assert not safe_files(one, live, public).passed
    sign(one, tmp_path / "key")
    assert safe_files(one, live, public).passed
