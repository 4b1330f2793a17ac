"""Signatures: what a key signed verifies; anything changed, added, taken away or signed by another is refused."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.store.bundles import tiny_bundle

from bowerbird.base.digest import digest_file, sealed
from bowerbird.base.errors import CorruptFile, DataError, MissingExtra, NotFound, Refused, UsageError
from bowerbird.store import signing
from bowerbird.store.registry.folder import FolderRegistry
from bowerbird.store.signing import new_key, sign, signature_of, verify

OPENSSL = shutil.which("openssl")


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two pairs, `own` and `other`."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("own", "other"):
        new_key(folder / name)
    return folder


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return tiny_bundle(tmp_path / "model" / "bundle")


@pytest.fixture
def signed(bundle: Path, keys: Path) -> Path:
    sign(bundle, keys / "own")
    return bundle


def test_what_was_signed_verifies_and_names_model_and_key(bundle: Path, keys: Path) -> None:
    made = sign(bundle, keys / "own")
    assert made == verify(bundle, keys / "own.pub")
    assert made.signature == bundle.with_name("bundle.sig")
    assert made.digest == json.loads((bundle / "bundle.json").read_text())["digest"]
    assert made.key == digest_file(keys / "own.pub")


def test_signing_changes_nothing_in_the_bundle(bundle: Path, keys: Path) -> None:
    before = {path.name: path.read_bytes() for path in bundle.iterdir()}
    sign(bundle, keys / "own")
    assert {path.name: path.read_bytes() for path in bundle.iterdir()} == before
    assert signature_of(bundle).stat().st_mode & 0o077 == 0


def test_another_key_is_refused_and_named(signed: Path, keys: Path) -> None:
    with pytest.raises(Refused, match="another key") as caught:
        verify(signed, keys / "other.pub")
    assert digest_file(keys / "own.pub") in (caught.value.hint or "")
    assert caught.value.exit_code == 5


def test_a_model_that_is_not_signed_is_refused(bundle: Path, keys: Path) -> None:
    with pytest.raises(Refused, match="not signed"):
        verify(bundle, keys / "own.pub")


def reseal(bundle: Path) -> None:
    """Make the bundle true to itself again, as whoever forges one can."""
    told = json.loads((bundle / "bundle.json").read_text())
    told["files"] = {name: digest_file(bundle / name) for name in told["files"]}
    told.pop("digest")
    (bundle / "bundle.json").write_text(json.dumps(sealed(told)))


def appended(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"x")


CHANGES: dict[str, Callable[[Path], object]] = {
    "weights": lambda bundle: appended(bundle / "weights.safetensors"),
    "card": lambda bundle: appended(bundle / "README.md"),
    "manifest": lambda bundle: appended(bundle / "bundle.json"),
    "forged": lambda bundle: (appended(bundle / "README.md"), reseal(bundle)),
    "added": lambda bundle: (bundle / "more").write_text("x"),
    "added as git's": lambda bundle: (bundle / ".gitignore").write_text("x"),
    "added in a folder": lambda bundle: ((bundle / ".git").mkdir(), (bundle / ".git" / "x").write_text("x")),
    "taken away": lambda bundle: (bundle / "README.md").unlink(),
    "a link": lambda bundle: (
        (bundle / "README.md").rename(bundle.parent / "elsewhere"),
        (bundle / "README.md").symlink_to(bundle.parent / "elsewhere"),
    ),
    "no file": lambda bundle: os.mkfifo(bundle / "pipe"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_model_that_was_changed_after_it_was_signed_is_refused(
    signed: Path, keys: Path, change: str
) -> None:
    CHANGES[change](signed)
    with pytest.raises(Refused, match="not what was signed"):
        verify(signed, keys / "own.pub")


def test_a_damaged_model_is_not_signed(bundle: Path, keys: Path) -> None:
    appended(bundle / "weights.safetensors")
    with pytest.raises(CorruptFile):
        sign(bundle, keys / "own")
    assert not signature_of(bundle).exists()


def test_a_link_beside_the_sealed_files_is_not_signed(bundle: Path, keys: Path) -> None:
    (bundle / "extra").symlink_to(keys / "own")
    with pytest.raises(CorruptFile, match="files only"):
        sign(bundle, keys / "own")
    assert not signature_of(bundle).exists()


def rewritten(signature: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(signature.read_text())
    change(content)
    signature.write_text(json.dumps(content))


def with_payload(content: dict[str, Any], change: Callable[[dict[str, Any]], object]) -> None:
    payload = json.loads(base64.b64decode(content["dsseEnvelope"]["payload"]))
    change(payload)
    content["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps(payload).encode()).decode()


FORGED: dict[str, Callable[[dict[str, Any]], object]] = {
    "no signatures": lambda content: content["dsseEnvelope"].update(signatures=[]),
    "an empty signature": lambda content: content["dsseEnvelope"]["signatures"][0].update(sig=""),
    "no envelope": lambda content: content.pop("dsseEnvelope"),
    "no key named": lambda content: content["verificationMaterial"]["publicKey"].pop("hint"),
    "an empty key named": lambda content: content["verificationMaterial"]["publicKey"].update(hint=""),
    "another type": lambda content: content.update(mediaType="text/plain"),
    "another payload type": lambda content: content["dsseEnvelope"].update(payloadType="text/plain"),
    "other files": lambda content: with_payload(content, lambda told: told["predicate"]["resources"].pop()),
    "ignored files": lambda content: with_payload(
        content, lambda told: told["predicate"]["serialization"].update(ignore_paths=["README.md"])
    ),
    "no payload": lambda content: content["dsseEnvelope"].update(payload=""),
}


@pytest.mark.parametrize("forgery", FORGED)
def test_a_signature_that_was_changed_is_refused(signed: Path, keys: Path, forgery: str) -> None:
    rewritten(signature_of(signed), FORGED[forgery])
    with pytest.raises(Refused):
        verify(signed, keys / "own.pub")


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 50_000, b" " * (2 << 20)],
    ids=lambda c: str(c[:4]),
)
def test_a_file_that_is_no_signature_is_refused(signed: Path, keys: Path, content: bytes) -> None:
    signature_of(signed).write_bytes(content)
    with pytest.raises(Refused, match="not a signature"):
        verify(signed, keys / "own.pub")


def test_a_signature_of_another_model_does_not_hold(signed: Path, keys: Path, tmp_path: Path) -> None:
    other = tiny_bundle(tmp_path / "other" / "bundle", step=5)
    shutil.copy(signature_of(signed), signature_of(other))
    with pytest.raises(Refused, match="not what was signed"):
        verify(other, keys / "own.pub")


def test_a_true_signature_that_leaves_files_out_is_refused(bundle: Path, keys: Path) -> None:
    """The owner of the key may sign anything with the library; of a model we want every file signed."""
    from model_signing import hashing
    from model_signing import signing as library

    some = hashing.Config().set_ignored_paths(paths=[bundle / "weights.safetensors"])
    signer = library.Config().set_hashing_config(some).use_elliptic_key_signer(private_key=keys / "own")
    signer.sign(bundle, signature_of(bundle))
    with pytest.raises(Refused, match=r"does not cover weights\.safetensors"):
        verify(bundle, keys / "own.pub")


def test_the_official_library_verifies_ours_and_we_verify_its(bundle: Path, keys: Path) -> None:
    from model_signing import signing as library
    from model_signing import verifying

    sign(bundle, keys / "own")
    official = verifying.Config().use_elliptic_key_verifier(public_key=keys / "own.pub")
    official.verify(bundle, signature_of(bundle))
    signature_of(bundle).unlink()
    library.Config().use_elliptic_key_signer(private_key=keys / "own").sign(bundle, signature_of(bundle))
    verify(bundle, keys / "own.pub")


@pytest.mark.skipif(OPENSSL is None, reason="openssl is not here")
@pytest.mark.parametrize(
    "make",
    [
        "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256",
        "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-521",
        "ecparam -name secp384r1 -genkey -noout",
    ],
)
def test_keys_made_by_openssl_sign_and_verify(bundle: Path, tmp_path: Path, make: str) -> None:
    key, public = tmp_path / "key.pem", tmp_path / "key.pub"
    subprocess.run(["openssl", *make.split(), "-out", key], check=True, capture_output=True)
    subprocess.run(
        ["openssl", "pkey", "-in", key, "-pubout", "-out", public], check=True, capture_output=True
    )
    assert sign(bundle, key) == verify(bundle, public)


@pytest.mark.skipif(OPENSSL is None, reason="openssl is not here")
def test_a_protected_key_wants_its_passphrase(bundle: Path, keys: Path, tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    protect = ["openssl", "pkey", "-in", keys / "own", "-aes256", "-passout", "pass:sea", "-out", key]
    subprocess.run(protect, check=True, capture_output=True)
    assert signing.is_protected(key)
    assert not signing.is_protected(keys / "own")
    with pytest.raises(UsageError, match="passphrase"):
        sign(bundle, key)
    with pytest.raises(Refused, match="passphrase"):
        sign(bundle, key, "see")
    sign(bundle, key, "sea")
    verify(bundle, keys / "own.pub")


def test_a_key_without_protection_needs_no_passphrase_that_happens_to_be_set(
    bundle: Path, keys: Path
) -> None:
    sign(bundle, keys / "own", "a passphrase of something else")
    verify(bundle, keys / "own.pub")


@pytest.mark.parametrize("content", [b"", b"a key", b"\xff" * 40, b"-----BEGIN PUBLIC KEY-----\nAAAA\n"])
def test_a_file_that_is_no_key_says_how_to_make_one(signed: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "key").write_bytes(content)
    for use in (sign, verify):
        with pytest.raises(DataError) as caught:
            use(signed, tmp_path / "key")
        assert "--new-key" in (caught.value.hint or "")


def test_the_wrong_half_of_a_pair_is_named(signed: Path, keys: Path) -> None:
    with pytest.raises(DataError, match="private key: verify with the public one"):
        verify(signed, keys / "own")
    with pytest.raises(DataError, match="not a private key"):
        sign(signed, keys / "own.pub")


@pytest.mark.skipif(OPENSSL is None, reason="openssl is not here")
@pytest.mark.parametrize("make", ["genpkey -algorithm ED25519", "ecparam -name secp256k1 -genkey -noout"])
def test_keys_of_other_kinds_are_refused(bundle: Path, tmp_path: Path, make: str) -> None:
    key = tmp_path / "key.pem"
    subprocess.run(["openssl", *make.split(), "-out", key], check=True, capture_output=True)
    with pytest.raises(DataError, match="P-256"):
        sign(bundle, key)


def test_what_is_not_there_is_not_found(bundle: Path, keys: Path, tmp_path: Path) -> None:
    for missing in (lambda: sign(bundle, tmp_path / "no"), lambda: verify(bundle, tmp_path / "no")):
        with pytest.raises(NotFound, match="key"):
            missing()
    for use, key in ((sign, "own"), (verify, "own.pub")):
        with pytest.raises(NotFound, match="bundle"):
            use(tmp_path / "nothing", keys / key)


def test_new_keys_are_private_different_and_never_overwrite(tmp_path: Path) -> None:
    public = new_key(tmp_path / "a")
    new_key(tmp_path / "b")
    assert public == tmp_path / "a.pub"
    assert (tmp_path / "a").read_bytes() != (tmp_path / "b").read_bytes()
    assert (tmp_path / "a").stat().st_mode & 0o077 == 0
    before = (tmp_path / "a").read_bytes()
    for halves in (["a", "a.pub"], ["a"]):
        with pytest.raises(Refused, match="taken"):
            new_key(tmp_path / "a")
        assert [path.name for path in sorted(tmp_path.glob("*a*"))] == halves
        assert (tmp_path / "a").read_bytes() == before
        public.unlink(missing_ok=True)


def test_a_bundle_named_through_a_link_is_the_same_bundle(signed: Path, keys: Path, tmp_path: Path) -> None:
    (tmp_path / "latest").symlink_to(signed)
    assert verify(tmp_path / "latest", keys / "own.pub").path == signed.resolve()


def test_a_published_copy_carries_the_signature_byte_for_byte(
    signed: Path, keys: Path, tmp_path: Path
) -> None:
    version = FolderRegistry(tmp_path / "registry").publish("poems", signed, "sha256:1")
    assert signature_of(version.path).read_bytes() == signature_of(signed).read_bytes()
    assert signature_of(version.path).stat().st_mode & 0o077 == 0
    verify(version.path, keys / "own.pub")


def test_a_model_without_a_signature_is_published_without(bundle: Path, tmp_path: Path) -> None:
    version = FolderRegistry(tmp_path / "registry").publish("poems", bundle, "sha256:1")
    assert sorted(path.name for path in version.path.parent.iterdir()) == ["bundle", "version.json"]


def test_without_its_packages_signing_names_the_extra(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signing.importlib.util, "find_spec", lambda name: None)
    for use in (
        lambda: sign(bundle, tmp_path),
        lambda: verify(bundle, tmp_path),
        lambda: new_key(tmp_path / "k"),
    ):
        with pytest.raises(MissingExtra) as caught:
            use()
        assert "bowerbird[security]" in (caught.value.hint or "")
