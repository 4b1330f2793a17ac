"""Signatures of models: elliptic-curve keys, the OpenSSF model-signing format, no network.

A signature lies beside its bundle, as `BUNDLE.sig`, and covers every file in it. It is a Sigstore bundle, which the
official `model_signing verify key` command checks too; keys are PEM files, ours or openssl's, on P-256, P-384 or P-521.
"""

from __future__ import annotations

import base64
import importlib.util
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bowerbird.base.digest import digest_bytes
from bowerbird.base.errors import DataError, MissingExtra, NotFound, Refused, UsageError
from bowerbird.base.files import whole_file, write_whole

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey

_CURVES = ("secp256r1", "secp384r1", "secp521r1")
_MOST_KEY_BYTES = 1 << 16
_MOST_SIGNATURE_BYTES = 1 << 20
_MAKE = "make a pair: bowerbird sign --new-key F, or openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256"


@dataclass(frozen=True)
class Signed:
    """A model and the signature that holds for it."""

    path: Path
    """The folder of the bundle."""
    digest: str
    """Of the bundle."""
    signature: Path
    key: str
    """`sha256:` of the public key's PEM text."""


def signature_of(bundle: Path) -> Path:
    """Where a bundle's signature lies, if it has one: beside it, for a bundle is never edited."""
    whole = bundle.resolve()
    return whole.with_name(f"{whole.name}.sig")


def new_key(path: Path) -> Path:
    """Make a key pair on P-256: the private one at `path`, the public one at `path.pub`. Returns the latter.

    Raises:
        Refused: one of the two is there already.
    """
    _check_installed()
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    public = path.with_name(f"{path.name}.pub")
    key = ec.generate_private_key(ec.SECP256R1())
    content = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with whole_file(public) as other, whole_file(path) as own:
        own.write(content)
        other.write(_pem(key.public_key()))
    return public


def is_protected(key: Path) -> bool:
    """Whether a passphrase is needed to sign with this key."""
    return b"ENCRYPTED" in _read_key(key)


def sign(bundle: Path, key: Path, passphrase: str | None = None) -> Signed:
    """Sign a bundle that is whole. An older signature of it is replaced.

    Raises:
        NotFound: there is no bundle or no key.
        CorruptFile: the bundle is damaged.
        DataError: this is no private key of a curve we know.
        UsageError, Refused: the key needs a passphrase, or another one.
    """
    _check_installed()
    from model_signing import signing

    from bowerbird.store.bundle import open_bundle

    path = bundle.resolve()
    public = _private_key(key, passphrase).public_key()
    digest = open_bundle(path).digest
    signature = signature_of(path)
    # The library's note says `str`; what it passes the passphrase on to wants bytes.
    secret: Any = passphrase.encode() if passphrase and is_protected(key) else None
    signer = signing.Config().set_hashing_config(_every_file())
    signer.use_elliptic_key_signer(private_key=key, password=secret)
    with tempfile.TemporaryDirectory(prefix="bowerbird-sign-") as folder:
        made = Path(folder) / "signature"
        try:
            signer.sign(path, made)
        except ValueError as error:
            raise Refused(f"this model cannot be signed: {error}", where=path) from error
        write_whole(signature, made.read_bytes())
    return Signed(path, digest, signature, digest_bytes(_pem(public)))


def verify(bundle: Path, key: Path) -> Signed:
    """Check that a bundle is, file for file, what the owner of a public key signed.

    Raises:
        NotFound: there is no bundle or no key.
        DataError: this is no public key of a curve we know.
        Refused: there is no signature, it is another key's or damaged, or a file was changed, added or taken away.
        CorruptFile: what was signed is damaged in itself.
    """
    _check_installed()
    from model_signing import verifying

    from bowerbird.store.bundle import MANIFEST, open_bundle

    path = bundle.resolve()
    if not (path / MANIFEST).is_file():
        raise NotFound("there is no bundle here", where=path)
    signature = signature_of(path)
    fingerprint = digest_bytes(_pem(_public_key(key)))
    if not signature.is_file():
        raise Refused("this model is not signed", where=path, hint="bowerbird sign MODEL --key F")
    signer, names = _read_signature(signature)
    if signer != fingerprint:
        raise Refused(
            "this model was signed with another key",
            where=signature,
            hint=f"the key given is {fingerprint}; the signature names {signer}",
        )
    checker = verifying.Config().set_hashing_config(_every_file())
    checker.use_elliptic_key_verifier(public_key=key)
    try:
        checker.verify(path, signature)
    except OSError:
        raise
    except Exception as error:  # the signature is anybody's file: what its parsers raise, they raise
        reason = str(error) or "the signature does not hold"
        raise Refused(
            f"this model is not what was signed: {reason}",
            where=path,
            hint="do not use it; get it again from its maker, or train it again",
        ) from error
    found = open_bundle(path)
    # A signer may leave files out; such a signature would say nothing about these.
    bare = sorted({MANIFEST, *found.manifest["files"]} - names)
    if bare:
        raise Refused(
            f"the signature does not cover {', '.join(bare)}", where=signature, hint="sign the model again"
        )
    return Signed(path, found.digest, signature, fingerprint)


def _every_file() -> Any:
    """How files are hashed: each whole, by SHA-256, none left out (the library would leave out git's), no links."""
    from model_signing import hashing

    return hashing.Config().set_ignored_paths(paths=[], ignore_git_paths=False)


def _read_signature(path: Path) -> tuple[str, set[str]]:
    """The digest of the key that a signature names, and the files it names. Nothing of it is proved yet."""
    try:
        if path.stat().st_size > _MOST_SIGNATURE_BYTES:
            raise ValueError("it is too large")
        content = json.loads(path.read_bytes())
        hint = content["verificationMaterial"]["publicKey"]["hint"]
        if not isinstance(hint, str):
            raise ValueError("it names no key")
        payload = json.loads(base64.b64decode(content["dsseEnvelope"]["payload"], validate=True))
        names = {str(resource["name"]) for resource in payload["predicate"]["resources"]}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Refused(
            f"this is not a signature of a model ({type(error).__name__}: {error})",
            where=path,
            hint="sign the model again: bowerbird sign MODEL --key F",
        ) from error
    return f"sha256:{hint}", names


def _private_key(path: Path, passphrase: str | None) -> EllipticCurvePrivateKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    content = _read_key(path)
    if b"ENCRYPTED" not in content:
        passphrase = None
    elif not passphrase:
        raise UsageError(
            "this key is protected by a passphrase",
            where=path,
            hint="give it by --passphrase-file F or BOWERBIRD_PASSPHRASE",
        )
    try:
        key = load_pem_private_key(content, passphrase.encode() if passphrase else None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        if passphrase:
            raise Refused("this passphrase does not open the key", where=path) from error
        raise _no_key("private", path) from error
    if not isinstance(key, EllipticCurvePrivateKey) or key.curve.name not in _CURVES:
        raise _no_key("private", path)
    return key


def _public_key(path: Path) -> EllipticCurvePublicKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    content = _read_key(path)
    if b"PRIVATE KEY" in content:
        raise DataError(
            "this is a private key: verify with the public one",
            where=path,
            hint=f"openssl pkey -in {path} -pubout -out {path}.pub",
        )
    try:
        key = load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _no_key("public", path) from error
    if not isinstance(key, EllipticCurvePublicKey) or key.curve.name not in _CURVES:
        raise _no_key("public", path)
    return key


def _pem(key: EllipticCurvePublicKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _read_key(path: Path) -> bytes:
    if not path.is_file():
        raise NotFound("there is no key here", where=path, hint=_MAKE)
    with path.open("rb") as file:
        return file.read(_MOST_KEY_BYTES)


def _no_key(half: str, path: Path) -> DataError:
    return DataError(f"this is not a {half} key on P-256, P-384 or P-521 in PEM form", where=path, hint=_MAKE)


def _check_installed() -> None:
    if not all(importlib.util.find_spec(name) for name in ("cryptography", "model_signing", "OpenSSL")):
        raise MissingExtra("signing", "security")
