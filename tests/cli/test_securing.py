"""Sign, verify, encrypt, decrypt, and serving only what is signed, on the command line."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Ran

from bowerbird import lifecycle
from bowerbird.base.errors import Refused, UsageError
from bowerbird.cli import securing
from bowerbird.store import encryption

Bowerbird = Callable[..., Ran]


@pytest.fixture(autouse=True)
def _quick_passphrases(monkeypatch: pytest.MonkeyPatch) -> None:
    """A passphrase costs a test little; the cost that users get has a test of its own."""
    from bowerbird.store import encrypted_bundle

    real = encrypted_bundle.encrypt

    def quick(*arguments: Any, work: int) -> None:
        real(*arguments, work=4)

    monkeypatch.setattr(encrypted_bundle, "encrypt", quick)
    monkeypatch.delenv(securing.PASSPHRASE, raising=False)
    assert encryption.WORK >= 17


@pytest.fixture
def run(tiny_run: Path, tmp_path: Path) -> Path:
    """A run free to be signed."""
    return Path(shutil.copytree(tiny_run, tmp_path / "run"))


def told(ran: Ran) -> dict[str, Any]:
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    assert isinstance(found, dict)
    return found


def test_a_key_is_made_a_model_signed_published_and_verified(
    bowerbird: Bowerbird, run: Path, tmp_path: Path
) -> None:
    key = tmp_path / "my.pem"
    made = told(bowerbird("sign", "--new-key", key, "--json"))
    assert made == {"private_key": str(key), "public_key": f"{key}.pub"}
    signed = told(bowerbird("sign", run, "--key", key, "--json"))
    assert told(bowerbird("publish", run, "poems", "--json"))["digest"] == signed["digest"]
    verified = told(bowerbird("verify", "poems@1", "--key", f"{key}.pub", "--json"))
    assert verified["verified"] is True
    assert (verified["digest"], verified["key"]) == (signed["digest"], signed["key"])
    assert verified["signature"].endswith("/poems/1/bundle.sig")


def test_a_key_is_made_and_used_in_one_go(bowerbird: Bowerbird, run: Path, tmp_path: Path) -> None:
    ran = bowerbird("sign", run, "--new-key", tmp_path / "k")
    assert ran.code == 0
    assert f"next: bowerbird verify {run} --key {tmp_path / 'k.pub'}" in ran.err
    assert bowerbird("verify", run, "--key", tmp_path / "k.pub").code == 0


def test_a_model_changed_after_it_was_signed_ends_with_5(
    bowerbird: Bowerbird, run: Path, tmp_path: Path
) -> None:
    signed = told(bowerbird("sign", run, "--new-key", tmp_path / "k", "--json"))
    card = Path(signed["path"]) / "README.md"
    card.write_text(card.read_text() + "trust me")
    ran = bowerbird("verify", run, "--key", tmp_path / "k.pub", "--json")
    assert (ran.code, ran.out) == (5, "")
    assert "not what was signed" in ran.err
    assert "README.md" in ran.err
    assert "hint:" in ran.err


def test_serve_takes_only_what_the_key_signed(bowerbird: Bowerbird, run: Path, tmp_path: Path) -> None:
    for name in ("own", "other"):
        assert bowerbird("sign", "--new-key", tmp_path / name).code == 0
    own, other = tmp_path / "own.pub", tmp_path / "other.pub"
    unsigned = bowerbird("serve", run, "--port", 0, "--require-signature", own)
    assert (unsigned.code, unsigned.out) == (5, "")
    assert "not signed" in unsigned.err
    assert bowerbird("sign", run, "--key", tmp_path / "own").code == 0
    assert bowerbird("serve", run, "--port", 0, "--require-signature", other).code == 5
    assert bowerbird("serve", run, "--port", 0, "--require-signature", tmp_path / "none").code == 4
    assert lifecycle.load(run, signed_by=own).digest
    with pytest.raises(Refused):
        lifecycle.load(run, signed_by=other)


def test_a_server_of_signed_models_starts_also_when_told_by_the_environment(
    bowerbird: Bowerbird, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bowerbird.serving import server

    started: list[Any] = []
    monkeypatch.setattr(server, "run", lambda app, bound, **_: started.append(app.state.engine.models))
    monkeypatch.setenv("BOWERBIRD_REQUIRE_SIGNATURE", str(tmp_path / "own.pub"))
    assert bowerbird("sign", "--new-key", tmp_path / "own").code == 0
    assert bowerbird("serve", run, "--port", 0).code == 5
    assert started == []
    assert bowerbird("sign", run, "--key", tmp_path / "own").code == 0
    assert bowerbird("serve", run, "--port", 0).code == 0
    assert [list(models) for models in started] == [["run"]]


def test_a_model_that_is_not_signed_is_not_even_read(run: Path, tmp_path: Path) -> None:
    """Its signature is asked for before any of its content is made sense of."""
    from bowerbird.store.signing import new_key

    public = new_key(tmp_path / "k")
    bundle = lifecycle.load(run).bundle.path
    (bundle / "bundle.json").write_text("not even JSON")
    with pytest.raises(Refused, match="not signed"):
        lifecycle.load(bundle, signed_by=public)


@pytest.mark.parametrize(
    "arguments", [[], ["MODEL"], ["--key", "k"], ["MODEL", "--key", "k", "--new-key", "n"]], ids=str
)
def test_sign_says_what_it_wants(bowerbird: Bowerbird, arguments: list[str]) -> None:
    ran = bowerbird("sign", *arguments)
    assert ran.code == 2
    assert "a model and a key" in ran.err


def test_a_key_file_takes_a_model_there_and_back(bowerbird: Bowerbird, run: Path, tmp_path: Path) -> None:
    key, file, out = tmp_path / "k", tmp_path / "model.enc", tmp_path / "back"
    made = told(bowerbird("encrypt", run, "--out", file, "--new-key", key, "--json"))
    assert made["size_bytes"] == file.stat().st_size
    assert made["secret"] == "key"
    back = told(bowerbird("decrypt", file, "--out", out, "--key", key, "--json"))
    assert (back["digest"], back["kind"], back["signature"]) == (made["digest"], "text", None)
    assert lifecycle.load(out).generate(seed=1, length=5) == lifecycle.load(run).generate(seed=1, length=5)
    again = told(bowerbird("encrypt", out, "--out", tmp_path / "again", "--key", key, "--json"))
    assert again["digest"] == made["digest"]


def test_a_signature_survives_encryption(bowerbird: Bowerbird, run: Path, tmp_path: Path) -> None:
    assert bowerbird("sign", run, "--new-key", tmp_path / "s").code == 0
    assert bowerbird("encrypt", run, "--out", tmp_path / "e", "--new-key", tmp_path / "k").code == 0
    back = told(
        bowerbird("decrypt", tmp_path / "e", "--out", tmp_path / "b", "--key", tmp_path / "k", "--json")
    )
    assert back["signature"] == str(tmp_path / "b.sig")
    assert bowerbird("verify", tmp_path / "b", "--key", tmp_path / "s.pub").code == 0


def test_a_passphrase_comes_from_a_file_or_the_environment(
    bowerbird: Bowerbird, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "p").write_text("the sea\nand a note below\n")
    made = told(
        bowerbird("encrypt", run, "--out", tmp_path / "e", "--passphrase-file", tmp_path / "p", "--json")
    )
    assert made["secret"] == "passphrase"
    monkeypatch.setenv(securing.PASSPHRASE, "the see")
    ran = bowerbird("decrypt", tmp_path / "e", "--out", tmp_path / "out", "--json")
    assert (ran.code, ran.out) == (5, "")
    assert "does not open" in ran.err
    assert not (tmp_path / "out").exists()
    monkeypatch.setenv(securing.PASSPHRASE, "the sea")
    assert told(bowerbird("decrypt", tmp_path / "e", "--out", tmp_path / "out", "--json"))["digest"]


def typing(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    left = list(lines)
    monkeypatch.setattr(securing, "getpass", lambda prompt: left.pop(0))
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)


def test_at_a_terminal_a_passphrase_is_asked_for_and_a_new_one_twice(
    bowerbird: Bowerbird, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    typing(monkeypatch, "the sea", "the see")
    ran = bowerbird("encrypt", run, "--out", tmp_path / "e")
    assert ran.code == 2
    assert "not equal" in ran.err
    assert not (tmp_path / "e").exists()
    typing(monkeypatch, "the sea", "the sea")
    assert bowerbird("encrypt", run, "--out", tmp_path / "e").code == 0
    typing(monkeypatch, "the sea")
    assert bowerbird("decrypt", tmp_path / "e", "--out", tmp_path / "out").code == 0


def test_without_a_key_and_nobody_to_ask_it_says_how_to_give_one(
    bowerbird: Bowerbird, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    ran = bowerbird("encrypt", run, "--out", tmp_path / "e")
    assert ran.code == 2
    assert "--passphrase-file F, or BOWERBIRD_PASSPHRASE" in ran.err


@pytest.mark.parametrize(
    "extra",
    [["--key", "k", "--new-key", "n"], ["--key", "k", "--passphrase-file", "p"]],
    ids=str,
)
def test_two_secrets_for_one_file_are_refused(
    bowerbird: Bowerbird, run: Path, tmp_path: Path, extra: list[str]
) -> None:
    assert bowerbird("encrypt", run, "--out", tmp_path / "e", *extra).code == 2
    assert not (tmp_path / "e").exists()
    with pytest.raises(UsageError):
        lifecycle.encrypt(run, tmp_path / "e", key="k", passphrase="p")


def test_what_is_not_there_ends_with_4(bowerbird: Bowerbird, run: Path, tmp_path: Path) -> None:
    none = tmp_path / "none"
    for arguments in (
        ["sign", run, "--key", none],
        ["verify", run, "--key", none],
        ["verify", none, "--key", none],
        ["encrypt", run, "--out", tmp_path / "e", "--key", none],
        ["encrypt", run, "--out", tmp_path / "e", "--passphrase-file", none],
        ["decrypt", none, "--out", tmp_path / "out"],
    ):
        ran = bowerbird(*arguments)
        assert ran.code == 4, ran.err
        assert "none" in ran.err


def test_a_place_that_is_taken_ends_with_5(bowerbird: Bowerbird, run: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("mine")
    assert bowerbird("encrypt", run, "--out", tmp_path / "taken", "--new-key", tmp_path / "k").code == 5
    assert bowerbird("sign", run, "--new-key", tmp_path / "taken").code == 5
    assert (tmp_path / "taken").read_text() == "mine"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not here")
def test_a_protected_signing_key_takes_its_passphrase_as_others_do(
    bowerbird: Bowerbird, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = tmp_path / "key.pem"
    make = "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -aes256 -pass pass:sea -out"
    subprocess.run(["openssl", *make.split(), key], check=True, capture_output=True)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    assert bowerbird("sign", run, "--key", key).code == 2
    monkeypatch.setenv(securing.PASSPHRASE, "see")
    assert bowerbird("sign", run, "--key", key).code == 5
    (tmp_path / "p").write_text("sea\n")
    assert bowerbird("sign", run, "--key", key, "--passphrase-file", tmp_path / "p").code == 0
