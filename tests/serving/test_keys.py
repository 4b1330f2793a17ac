"""Keys: shown once, kept as hashes, revoked at once, and a file that says nothing useful to a thief."""

from __future__ import annotations

import hashlib
import hmac
import json
import multiprocessing
import os
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bowerbird.base.errors import BowerbirdError, CorruptFile, NotFound, Refused, UsageError
from bowerbird.serving import keys as module
from bowerbird.serving.errors import Unauthorized
from bowerbird.serving.keys import KeyRing


@pytest.fixture
def ring(tmp_path: Path) -> KeyRing:
    return KeyRing(tmp_path / "below" / "keys.json")


def test_a_new_key_lets_in_and_only_its_hash_is_kept(ring: KeyRing) -> None:
    key, secret = ring.new("  phone ", requests_per_minute=60, concurrent=2, expires_days=30)
    assert ring.check(secret) == key
    assert ring.check(secret.encode()) == key
    assert (key.name, key.requests_per_minute, key.concurrent, key.state) == ("phone", 60, 2, "valid")
    written = ring.path.read_text()
    assert secret not in written
    assert secret.removeprefix("bb_") not in written
    assert key.sha256 == hashlib.sha256(secret.encode()).hexdigest()
    assert secret not in repr(key)


def test_keys_have_256_random_bits_and_ids_of_their_own(ring: KeyRing) -> None:
    made = [ring.new(f"key {number}") for number in range(20)]
    assert len({secret for _, secret in made}) == len({key.id for key, _ in made}) == 20
    assert {len(secret) for _, secret in made} == {3 + 43}
    assert [key.name for key in ring.keys] == [f"key {number}" for number in range(20)]


@pytest.mark.parametrize("wrong", ["", "bb_", "x" * 100_000, "bb_\ud800", "bb_" + "A" * 43, b"\xff\x00"])
def test_any_other_secret_is_refused(ring: KeyRing, wrong: str | bytes) -> None:
    _, secret = ring.new("phone")
    for guess in (wrong, secret[:-1], secret + " ", secret.upper(), secret.encode() + b"\0"):
        with pytest.raises(Unauthorized) as caught:
            ring.check(guess)
        assert (caught.value.http_status, caught.value.code) == (401, "invalid_api_key")
        assert secret not in str(caught.value)


def test_every_key_is_compared_in_constant_time(ring: KeyRing, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = [ring.new(f"key {number}")[1] for number in range(5)]
    compared: list[str] = []
    compare = hmac.compare_digest

    def watched(left: str, right: str) -> bool:
        compared.append(right)
        return compare(left, right)

    monkeypatch.setattr(module.hmac, "compare_digest", watched)
    for secret in (secrets[0], secrets[4]):
        compared.clear()
        ring.check(secret)
        assert len(compared) == 5
    compared.clear()
    with pytest.raises(Unauthorized):
        ring.check("bb_wrong")
    assert len(compared) == 5


def test_a_revoked_key_lets_nobody_in_at_once_in_every_process(ring: KeyRing) -> None:
    kept, other = ring.new("kept"), ring.new("lost")
    elsewhere = KeyRing(ring.path)
    assert elsewhere.check(other[1]) == other[0]
    revoked = ring.revoke(other[0].id)
    assert revoked.state == "revoked"
    for one in (ring, elsewhere):
        with pytest.raises(Unauthorized) as caught:
            one.check(other[1])
        assert caught.value.code == "revoked_api_key"
        assert one.check(kept[1]) == kept[0]
    assert ring.revoke(other[0].id) == revoked, "the first time counts"


def test_a_key_lets_nobody_in_after_its_time(ring: KeyRing, monkeypatch: pytest.MonkeyPatch) -> None:
    _, secret = ring.new("guest", expires_days=1)
    ring.check(secret)

    class Later(datetime):
        @classmethod
        def now(cls, zone: Any = None) -> datetime:
            return datetime.now(UTC) + timedelta(days=1, seconds=5)

    monkeypatch.setattr(module, "datetime", Later)
    with pytest.raises(Unauthorized) as caught:
        ring.check(secret)
    assert caught.value.code == "expired_api_key"


def test_there_is_no_such_key(ring: KeyRing) -> None:
    with pytest.raises(NotFound) as caught:
        ring.revoke("00000000")
    assert caught.value.exit_code == 4
    assert not ring.path.parent.exists(), "nothing is made for it"
    key, _ = ring.new("phone")
    with pytest.raises(NotFound, match=f"did you mean `{key.id}`"):
        ring.revoke(key.id[:-1])


@pytest.mark.parametrize(
    "options",
    [
        {"name": ""},
        {"name": " "},
        {"name": "x" * 101},
        {"name": "two\nlines"},
        {"name": "x", "requests_per_minute": 0},
        {"name": "x", "concurrent": -1},
        {"name": "x", "requests_per_minute": 10**10},
        {"name": "x", "expires_days": 0},
        {"name": "x", "expires_days": float("nan")},
        {"name": "x", "expires_days": float("inf")},
        {"name": "x", "expires_days": 1e9},
    ],
    ids=str,
)
def test_a_key_that_cannot_be_is_refused(ring: KeyRing, options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        ring.new(**options)
    assert not ring.path.exists()


@pytest.mark.skipif(os.name != "posix", reason="modes are of POSIX systems")
def test_the_file_is_its_owner_s_alone_and_refused_where_others_may_write_it(ring: KeyRing) -> None:
    before = os.umask(0)
    try:
        _, secret = ring.new("phone")
    finally:
        os.umask(before)
    for place in [ring.path.parent, *ring.path.parent.iterdir()]:
        assert stat.S_IMODE(place.stat().st_mode) & 0o077 == 0, place
    ring.path.chmod(0o644)
    ring.check(secret)
    ring.path.chmod(0o622)
    for _ in range(2):
        with pytest.raises(Refused) as caught:
            ring.check(secret)
        assert "chmod go-w" in (caught.value.hint or "")
    ring.path.chmod(0o600)
    ring.check(secret)


def record(**changes: Any) -> dict[str, Any]:
    return {"id": "0" * 8, "name": "x", "sha256": "0" * 64, "created": "2026-11-27T04:05:06Z"} | changes


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{",
        b"\xff",
        b"null",
        json.dumps({"format": 1}).encode(),
        json.dumps({"format": 2, "keys": []}).encode(),
        json.dumps({"format": 1, "keys": {}}).encode(),
        json.dumps({"format": 1, "keys": [1]}).encode(),
        *(
            json.dumps({"format": 1, "keys": [changed]}).encode()
            for changed in (
                record(id="x"),
                record(sha256="0" * 63),
                record(sha256=None),
                record(created="yesterday"),
                record(created="2026-11-27"),
                record(expires="2026-11-27T04:05:06"),
                record(requests_per_minute=0),
                record(concurrent="many"),
                record(admin=True),
                {},
            )
        ),
        json.dumps({"format": 1, "keys": [record(), record()]}).encode(),
        json.dumps({"format": 1, "keys": [record(revoked=7)]}).encode(),
    ],
    ids=range(21),
)
def test_a_damaged_file_lets_nobody_in_and_is_not_changed(ring: KeyRing, content: bytes) -> None:
    _, secret = ring.new("phone")
    ring.check(secret)
    ring.path.write_bytes(content)
    for call in (lambda: ring.check(secret), lambda: ring.keys, lambda: ring.new("other")):
        with pytest.raises(CorruptFile):
            call()
    assert ring.path.read_bytes() == content


def test_without_a_file_there_are_no_keys(ring: KeyRing) -> None:
    assert ring.keys == ()
    _, secret = ring.new("phone")
    ring.check(secret)
    ring.path.unlink()
    with pytest.raises(Unauthorized):
        ring.check(secret)


def test_a_file_behind_a_link_that_moves_is_followed(tmp_path: Path) -> None:
    """As secrets are mounted into containers."""
    secrets = []
    for name in ("first", "second"):
        secrets.append(KeyRing(tmp_path / name / "keys.json").new(name)[1])
    (tmp_path / "data").symlink_to("first")
    ring = KeyRing(tmp_path / "data" / "keys.json")
    ring.check(secrets[0])
    (tmp_path / "data").unlink()
    (tmp_path / "data").symlink_to("second")
    ring.check(secrets[1])
    with pytest.raises(Unauthorized):
        ring.check(secrets[0])


def test_there_is_a_most(ring: KeyRing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_KEYS", 2)
    ring.new("one")
    ring.new("two")
    with pytest.raises(Refused):
        ring.new("three")
    assert len(ring.keys) == 2


def make_keys(path: Path, count: int) -> None:
    ring = KeyRing(path)
    for number in range(count):
        ring.new(f"key {number}")


def test_processes_that_make_keys_at_once_lose_none(ring: KeyRing) -> None:
    spawn = multiprocessing.get_context("spawn")
    made = [spawn.Process(target=make_keys, args=(ring.path, 10)) for _ in range(3)]
    for process in made:
        process.start()
    for process in made:
        process.join(60)
    assert [process.exitcode for process in made] == [0, 0, 0]
    assert len(ring.keys) == 30


def test_a_failed_change_leaves_the_file_as_it_was(ring: KeyRing, monkeypatch: pytest.MonkeyPatch) -> None:
    _, secret = ring.new("phone")
    before = ring.path.read_bytes()

    def full(*_: Any) -> None:
        raise BowerbirdError("the disk is full")

    monkeypatch.setattr(module, "write_json", full)
    with pytest.raises(BowerbirdError):
        ring.new("other")
    assert ring.path.read_bytes() == before
    ring.check(secret)
    assert len(ring.keys) == 1
