"""The whole loop: new data, gates, a trial, a promotion or its taking back, each decision logged with its numbers."""

from __future__ import annotations

import json
import random
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.conftest import Ran
from tests.untrained_bundles import text_model

from bowerbird import lifecycle
from bowerbird.base.config import merged
from bowerbird.base.errors import BowerbirdError, NotFound, Refused, UsageError
from bowerbird.monitoring import watch as watching
from bowerbird.monitoring.deciding import Consent, decide, stop
from bowerbird.monitoring.decisions import Decision, decisions
from bowerbird.monitoring.events import Event
from bowerbird.monitoring.policy import Policy
from bowerbird.monitoring.store import FILE, EventStore
from bowerbird.monitoring.update import plan, update
from bowerbird.monitoring.update_config import UpdateConfig
from bowerbird.monitoring.wanted import Wanted, held_update
from bowerbird.monitoring.watch import Watch
from bowerbird.store.rollout import read_rollout, write_rollout
from bowerbird.store.signing import new_key, sign
from bowerbird.workspace import Workspace

STEPS = 8
LITTLE = {
    "judge": {"samples": 2, "length": 60},
    "finetune": {"patience": None, "evaluate_every": STEPS},
    "policy": {"margin": 0.5},  # the little model knows the little poems by heart, and forgets as quickly
}
LETTERS = [
    "quick",
    "brown",
    "foxes",
    "jump",
    "over",
    "lazy",
    "dogs",
    "while",
    "zebras",
    "vex",
    "quiet",
    "wharf",
    "judge",
]
HOUR = 3600.0


@pytest.fixture
def space(tiny_run: Path) -> Workspace:
    """A workspace in which a model of 12 steps is live."""
    lifecycle.publish(tiny_run, "poems", alias="live")
    return Workspace()


@pytest.fixture(scope="session")
def letters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty letters in other words than the poems'."""
    folder = tmp_path_factory.mktemp("letters")
    for number in range(40):
        chosen = random.Random(number)
        lines = [" ".join(chosen.choice(LETTERS) for _ in range(8)) for _ in range(6)]
        (folder / f"{number:02}.txt").write_text("\n".join(lines) + "\n")
    return folder


def wanted(*sources: Path, **changes: Any) -> Wanted:
    config = UpdateConfig.model_validate(merged(LITTLE, changes.pop("config", {})))
    return Wanted(
        "poems",
        sources=[str(source) for source in sources],
        steps=changes.pop("steps", STEPS),
        config=config,
        **changes,
    )


def live(space: Workspace) -> int:
    return space.registry.find("poems", "live").version


def traffic(space: Workspace, live_count: int, new_count: int, failed: int = 0) -> EventStore:
    """Requests since the trial began, so many of the challenger's failed."""
    trial = read_rollout(space.root, "poems")
    assert trial is not None
    store = EventStore(space.root / FILE)
    for digest, arm, count in (
        (trial.live_digest, "live", live_count),
        (trial.digest, trial.mode, new_count),
    ):
        store.add(
            Event(
                id=f"{arm}-{number}",
                time=trial.since + 1 + number,
                model="poems",
                digest=digest,
                kind="text",
                path="/v1/completions",
                arm="challenger" if arm == "share" else arm,  # type: ignore[arg-type]
                status=500 if failed and arm != "live" and number < failed else 200,
                prompt=f"quick brown foxes {number}",
            )
            for number in range(count)
        )
    return store


def now(space: Workspace, hours: float) -> float:
    trial = read_rollout(space.root, "poems")
    assert trial is not None
    return trial.since + hours * HOUR


def test_a_better_version_goes_on_trial_and_nothing_becomes_live_by_itself(
    space: Workspace, letters: Path
) -> None:
    decision = update(wanted(letters), space)
    assert decision.decision == "on trial", decision.why
    told = json.loads(json.dumps(decision.to_json(), allow_nan=False))
    assert [gate["name"] for gate in told["gates"]] == [
        "not worse on old data",
        "better on the new data",
        "no less novel",
        "safe files",
    ]
    assert told["gathered"]["documents"] == 40
    assert told["scores"]["new data"]["value"] < 0
    assert live(space) == 1
    challenger = space.registry.find("poems", "challenger")
    assert challenger.version == 2
    assert challenger.parent == space.registry.find("poems", "1").digest
    trial = read_rollout(space.root, "poems")
    assert trial is not None
    assert (trial.version, trial.live_version, trial.mode, trial.share) == (2, 1, "shadow", 1.0)
    [line] = decisions(space.root, "poems")
    assert line["decision"] == "on trial"
    assert line["gates"] == told["gates"]
    publish = [entry for entry in space.registry.log("poems") if entry["version"] == 2]
    assert "bits per byte" in publish[0]["why"]
    with pytest.raises(Refused, match="on trial"):
        update(wanted(letters), space)


def test_a_person_s_yes_promotes_and_the_next_update_knows_both_data(
    space: Workspace, letters: Path, tmp_path: Path
) -> None:
    assert update(wanted(letters, now=True), space).decision == "promoted"
    assert live(space) == 2
    assert read_rollout(space.root, "poems") is None
    assert lifecycle.rollback("poems").version == 1
    assert lifecycle.promote("poems", 2).version == 2
    why = [entry["why"] for entry in space.registry.log("poems") if entry["action"] == "promote"]
    assert any(said and "by consent" in said for said in why)
    more = tmp_path / "more"
    more.mkdir()
    for number in range(20):
        chosen = random.Random(number)
        words = ["".join(chosen.choice("xyz") for _ in range(4)) for _ in range(70)]
        (more / f"{number}.txt").write_text(" ".join(words))
    decision = update(wanted(more, now=True), space)
    names = [gate["name"] for gate in decision.to_json()["gates"]]
    assert names[:2] == ["not worse on old data 1", "not worse on old data 2"]


def test_a_version_that_is_no_better_is_refused_and_says_why(space: Workspace, letters: Path) -> None:
    decision = update(wanted(letters, config={"policy": {"margin": 0.0, "least_gain": 9.0}}, now=True), space)
    assert decision.decision == "refused"
    assert "better on the new data: " in decision.why
    assert "not worse on old data: " in decision.why
    assert live(space) == 1
    assert len(lifecycle.versions("poems")) == 1
    work = Path(decision.numbers["work"])
    assert (work / "gathered.jsonl").exists()
    assert not (work / "run").exists()
    assert not (work / "new").exists()
    assert decisions(space.root, "poems")[-1]["decision"] == "refused"


def test_a_poisoned_batch_is_held_and_the_reasons_are_told(space: Workspace, tmp_path: Path) -> None:
    blocked = tmp_path / "blocked.txt"
    blocked.write_text("darn\n")
    folder = space.root / "feedback"
    folder.mkdir(parents=True)
    lines = []
    for number in range(10_000):
        lines.append(
            _said(number, "mallory", correction="Buy at once, buy at once, buy at once!" + "!" * (number % 7))
        )
    for number in range(50):
        lines.append(
            _said(20_000 + number, "trent", correction=f"darn {random.Random(number).random()} " + "x" * 300)
        )
    for number in range(50):
        lines.append(
            _said(30_000 + number, "trudy", correction=f"reach jane{number}@example.org {'ab' * number}")
        )
    (folder / "poems.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    decision = update(wanted(feedback=True, config={"gather": {"block": str(blocked)}}), space)
    assert decision.decision == "refused"
    refused = decision.numbers["gathered"]["refused"]
    assert refused["the same as another"] >= 9_999
    assert refused["blocked"] == 50
    assert "9,999 the same as another" in decision.why
    assert "50 blocked" in decision.why
    kept = "".join(
        path.read_text(errors="replace")
        for path in space.root.rglob("*")
        if path.is_file() and path.suffix == ".jsonl" and path.parent != folder
    )
    assert "jane" not in kept
    assert "Buy at once" not in kept
    assert live(space) == 1


def _said(number: int, owner: str, **more: Any) -> dict[str, Any]:
    return {
        "id": f"fb-{number}",
        "time": 1000.0 + number,
        "origin": f"cmpl-{number}",
        "owner": owner,
        "model": "poems",
        "digest": "sha256:a",
        "prompt": "",
        "text": "an answer",
        "rating": None,
        "comment": None,
        "correction": None,
        **more,
    }


def test_without_the_old_data_there_is_no_passing(
    space: Workspace, letters: Path, tiny_dataset: Path
) -> None:
    (space.root / "datasets.json").unlink()
    decision = update(wanted(letters), space)
    assert decision.decision == "refused"
    assert "--old" in decision.why
    assert update(wanted(letters, old=[tiny_dataset]), space).decision == "on trial"


def test_a_plan_keeps_nothing(space: Workspace, letters: Path) -> None:
    before = sorted(space.root.rglob("*"))
    decision = plan(wanted(letters), space)
    assert decision.decision == "planned"
    assert "8 steps" in decision.why
    assert decision.numbers["gathered"]["documents"] == 40
    assert sorted(space.root.rglob("*")) == before
    few = plan(wanted(letters, config={"gather": {"least_characters": 10**6}}), space)
    assert "nothing would be learnt" in few.why


def test_what_is_asked_is_checked_first(space: Workspace, letters: Path) -> None:
    with pytest.raises(UsageError, match="new to learn from"):
        update(wanted(), space)
    with pytest.raises(UsageError, match="share"):
        update(wanted(letters, share=0.0), space)
    with pytest.raises(NotFound):
        update(Wanted("songs", sources=[str(letters)]), space)
    with held_update("poems", space), pytest.raises(Refused, match="under way"):
        update(wanted(letters), space)
    with pytest.raises(NotFound):
        update(wanted(letters / "none"), space)
    assert list((space.root / "updates" / "poems").glob("2*")) == []


def test_a_signed_version_is_followed_by_a_signed_one(tiny_run: Path, letters: Path, tmp_path: Path) -> None:
    run = shutil.copytree(tiny_run, tmp_path / "run")
    new_key(tmp_path / "key")
    sign(lifecycle.load(run).bundle.path, tmp_path / "key")
    lifecycle.publish(run, "poems", alias="live")
    space = Workspace()
    decision = update(wanted(letters), space)
    assert decision.decision == "refused"
    assert "safe files" in decision.why
    assert update(wanted(letters, key=tmp_path / "key"), space).decision == "on trial"
    lifecycle.verify("poems@challenger", tmp_path / "key.pub")


@pytest.fixture(scope="session")
def tried(tiny_run: Path, letters: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which version 2 is on trial, sharing the traffic. Not to be changed."""
    space = Workspace(tmp_path_factory.mktemp("tried"))
    lifecycle.publish(tiny_run, "poems", alias="live", workspace=space)
    assert update(wanted(letters, mode="share", share=0.5), space).decision == "on trial"
    return space.root


@pytest.fixture
def trial(tried: Path, workspace: Path) -> Workspace:
    shutil.copytree(tried, workspace, dirs_exist_ok=True)
    return Workspace()


POLICY = Policy(least_requests=50, least_hours=1.0, margin=0.1)


def test_a_policy_promotes_once_the_trial_has_shown_enough(trial: Workspace) -> None:
    store = traffic(trial, 60, 60)
    by_policy = Consent(by_policy=True)
    early = decide("poems", trial, store, consent=by_policy, policy=POLICY, now=now(trial, 0.5))
    assert early.decision == "waiting"
    assert live(trial) == 1
    nobody = decide("poems", trial, store, consent=Consent(), policy=POLICY, now=now(trial, 2))
    assert nobody.decision == "waiting"
    assert live(trial) == 1
    decision = decide("poems", trial, store, consent=by_policy, policy=POLICY, now=now(trial, 2))
    assert decision.decision == "promoted", decision.why
    assert live(trial) == 2
    assert read_rollout(trial.root, "poems") is None
    assert decision.numbers["comparison"]["challenger"]["requests"] == 60
    assert decision.numbers["comparison"]["prompts"]["value"] < 0
    assert "60 requests" in trial.registry.log("poems")[-1]["why"]
    store.close()


def test_harm_takes_it_back_and_the_log_says_why(trial: Workspace) -> None:
    store = traffic(trial, 60, 60, failed=20)
    decision = decide("poems", trial, store, consent=Consent(by_hand=True), policy=POLICY, now=now(trial, 2))
    assert decision.decision == "rolled back"
    assert live(trial) == 1
    assert trial.registry.find("poems", "challenger").version == 1
    assert "20 of 60 requests failed" in trial.registry.log("poems")[-1]["why"]
    assert decisions(trial.root, "poems")[-1]["decision"] == "rolled back"
    with pytest.raises(NotFound):
        decide("poems", trial, store, consent=Consent())
    store.close()


def test_harm_without_consent_is_told_and_nothing_is_done(trial: Workspace) -> None:
    store = traffic(trial, 60, 60, failed=20)
    decision = decide("poems", trial, store, consent=Consent(), policy=POLICY, now=now(trial, 2))
    assert decision.decision == "waiting"
    assert "--stop" in decision.why
    assert read_rollout(trial.root, "poems") is not None
    store.close()


def test_a_person_may_promote_before_the_trial_is_over(trial: Workspace) -> None:
    decision = decide("poems", trial, None, consent=Consent(by_hand=True), policy=POLICY)
    assert decision.decision == "promoted"
    assert live(trial) == 2


def test_an_undecided_trial_ends(trial: Workspace) -> None:
    late = now(trial, POLICY.most_hours + 1)
    decision = decide("poems", trial, None, consent=Consent(by_policy=True), policy=POLICY, now=late)
    assert decision.decision == "rolled back"
    assert "undecided" in decision.why


def test_a_trial_against_what_is_no_longer_live_ends(trial: Workspace, tmp_path: Path) -> None:
    lifecycle.publish(text_model(tmp_path / "third"), "poems", alias="live")
    decision = decide("poems", trial, None, consent=Consent(by_policy=True), policy=POLICY)
    assert decision.decision == "rolled back"
    assert "went live meanwhile" in decision.why
    assert live(trial) == 3


def test_a_challenger_that_was_promoted_by_hand_is_on_trial_no_longer(trial: Workspace) -> None:
    lifecycle.promote("poems", 2)
    assert decide("poems", trial, None, consent=Consent()).decision == "promoted"
    assert read_rollout(trial.root, "poems") is None
    assert live(trial) == 2


def test_a_name_without_a_live_version_is_not_updated(tiny_run: Path, letters: Path) -> None:
    lifecycle.publish(tiny_run, "poems")
    with pytest.raises(NotFound, match="live"):
        update(wanted(letters), Workspace())
    assert len(lifecycle.versions("poems")) == 1


def test_a_trial_is_stopped_by_hand_even_if_its_record_is_damaged(trial: Workspace) -> None:
    rollout = read_rollout(trial.root, "poems")
    assert rollout is not None
    assert stop("poems", trial).decision == "rolled back"
    with pytest.raises(NotFound):
        stop("poems", trial)
    write_rollout(trial.root, rollout)
    (trial.root / "rollouts" / "poems.json").write_text("{")
    assert stop("poems", trial).decision == "rolled back"
    assert read_rollout(trial.root, "poems") is None


def test_a_watch_updates_on_drift_and_decides_on_the_trial(
    space: Workspace, letters: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verdicts = iter(["steady", "too little data", "moved", "moved"])
    monkeypatch.setattr(watching, "monitor", lambda name, **how: SimpleNamespace(verdict=next(verdicts)))
    EventStore(space.root / FILE).close()
    asked = wanted(letters, now=True, config={"policy": {**POLICY.model_dump(), "margin": 0.5}})
    watch = Watch(asked, space, lambda: EventStore(space.root / FILE, create=False), Consent(by_policy=True))
    assert watch.look().decision == "steady"
    assert watch.look().decision == "steady"
    assert watch.look().decision == "on trial"
    assert watch.look().decision == "waiting"
    assert live(space) == 1
    stop("poems", space)
    again = watch.look()
    assert again.decision == "steady"
    assert "last update" in again.why


def test_a_watch_without_events_waits_and_what_fails_is_tried_again(
    space: Workspace, letters: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ends = threading.Event()
    seen: list[Decision] = []

    def store() -> EventStore | None:
        if not seen and not caplog.text:
            raise BowerbirdError("the database is gone")
        return None

    def on_decision(decision: Decision) -> None:
        seen.append(decision)
        ends.set()

    asked = wanted(letters, config={"every_seconds": 0.01})
    Watch(asked, space, store, Consent()).run(ends, on_decision)
    assert "the database is gone" in caplog.text
    assert "no events" in seen[0].why


# The command line.

FEW = [
    *("--steps", str(STEPS), "--set", "judge.samples=2", "--set", "judge.length=60"),
    *("--set", f"finetune.evaluate_every={STEPS}", "--set", "policy.margin=0.5"),
]


def test_the_command_line_goes_round_the_loop(
    space: Workspace, letters: Path, bowerbird: Callable[..., Ran], tmp_path: Path
) -> None:
    ran = bowerbird("update", "poems", "--data", letters, "--dry-run", *FEW)
    assert ran.code == 0, ran.err
    assert "40 documents" in ran.out
    ran = bowerbird("update", "poems", "--data", letters, "--mode", "share", "--share", "0.5", "--json", *FEW)
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["decision"] == "on trial"
    ran = bowerbird("update", "poems")
    assert ran.code == 0, ran.err
    assert "waiting" in ran.out
    policy = tmp_path / "policy.yaml"
    policy.write_text("least_requests: 50\nleast_hours: 0\nmargin: 0.1\n")
    traffic(space, 60, 60).close()
    ran = bowerbird("update", "poems", "--policy", policy, "--json")
    assert json.loads(ran.out)["decision"] == "promoted", ran
    assert "version" in bowerbird("versions", "poems", "--log").out
    assert bowerbird("rollback", "poems").code == 0
    assert live(space) == 1
    assert bowerbird("promote", "poems@2").code == 0
    assert bowerbird("update", "poems").code == 4


def test_a_gate_that_holds_ends_with_5_and_one_json_object(
    space: Workspace, letters: Path, bowerbird: Callable[..., Ran]
) -> None:
    held = ["--set", "policy.least_gain=9"]
    ran = bowerbird("update", "poems", "--data", letters, "--json", *held, *FEW)
    assert ran.code == 5
    assert json.loads(ran.out)["decision"] == "refused"
    assert "better on the new data" in ran.err
    ran = bowerbird("update", "poems", "--data", letters, *held, *FEW)
    assert (ran.code, ran.out) == (5, "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--yes", "--policy", "POLICY"], "not both"),
        (["--policy", "BAD"], "margins"),
        (["--set", "gather.mots_made=1"], "gather.most_made"),
        (["--set", "policy.margin=2"], "policy.margin"),
        (["--stop", "--yes"], "--stop"),
        (["--watch"], "--data"),
        (["--watch", "--dry-run"], "together"),
        (["--mode", "shade"], "shade"),
        (["--share", "0", "--data", "DATA"], "share"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_wrong_usage_is_told(
    arguments: list[str],
    said: str,
    space: Workspace,
    letters: Path,
    bowerbird: Callable[..., Ran],
    tmp_path: Path,
) -> None:
    (tmp_path / "policy.yaml").write_text("margin: 0.1\n")
    (tmp_path / "bad.yaml").write_text("margins: 0.1\n")
    places = {"POLICY": tmp_path / "policy.yaml", "BAD": tmp_path / "bad.yaml", "DATA": letters}
    ran = bowerbird("update", "poems", *(places.get(argument, argument) for argument in arguments))
    assert ran.code == 2, ran
    assert said in ran.err
