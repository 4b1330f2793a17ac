"""Commands that secure: sign, verify, encrypt, decrypt."""

from __future__ import annotations

import os
import sys
from getpass import getpass
from pathlib import Path
from typing import Any

from cyclopts import App

from bowerbird.base.errors import NotFound, UsageError
from bowerbird.cli import show
from bowerbird.cli.making import space
from bowerbird.cli.options import OUTPUT, Output

PASSPHRASE = "BOWERBIRD_PASSPHRASE"
_MOST_BYTES = 1 << 12


def sign(
    model: str | None = None,
    *,
    key: Path | None = None,
    new_key: Path | None = None,
    passphrase_file: Path | None = None,
    output: Output = OUTPUT,
) -> None:
    """Sign a model with a private key, so that others can tell that it is yours and unchanged.

    Example: bowerbird sign poems@live --key signing.pem

    The signature lies beside the model's bundle and goes with it when it is published or encrypted. A key that is
    protected by a passphrase takes it from --passphrase-file, BOWERBIRD_PASSPHRASE or the terminal.

    Parameters
    ----------
    model
        A run, a bundle, or a name as poems@live; may be left out with --new-key.
    key
        A private elliptic-curve key in PEM form, made by --new-key or by openssl.
    new_key
        Make a key pair first, this file and this file with .pub; give the latter to whoever verifies.
    passphrase_file
        A file whose first line is the key's passphrase.
    """
    from bowerbird import lifecycle
    from bowerbird.store import signing

    told: dict[str, Any] = {}
    lines: list[str] = []
    public = "PUBLIC_KEY"
    if key is None and new_key is not None:
        key, public = new_key, str(signing.new_key(new_key))
        told = {"private_key": str(key), "public_key": public}
        lines = [f"made {key} (keep it to yourself) and {public} (give it away)"]
        if model is None:
            show.result(output, told, lines, f"bowerbird sign MODEL --key {key}")
            return
    elif key is None or new_key is not None or model is None:
        raise UsageError(
            "sign wants a model and a key, or a place for a new one",
            hint="bowerbird sign MODEL --key F, or bowerbird sign --new-key F",
        )
    passphrase = read_passphrase(passphrase_file) if signing.is_protected(key) else None
    signed = lifecycle.sign(model, key, passphrase=passphrase, workspace=space(output))
    lines.append(f"signed {model}: {signed.signature}")
    show.result(output, {**_told(model, signed), **told}, lines, f"bowerbird verify {model} --key {public}")


def verify(model: str, *, key: Path, output: Output = OUTPUT) -> None:
    """Check that a model is, file for file, what the owner of a key signed; exit code 5 if it is not.

    Example: bowerbird verify poems@live --key signing.pem.pub

    Parameters
    ----------
    model
        A run, a bundle, or a name as poems@live.
    key
        The public key of whoever should have signed it, in PEM form.
    """
    from bowerbird import lifecycle

    signed = lifecycle.verify(model, key, workspace=space(output))
    lines = [f"{model} is as it was signed", f"model: {signed.digest}", f"key: {signed.key}"]
    then = f"bowerbird serve {model} --require-signature {key}"
    show.result(output, {**_told(model, signed), "verified": True}, lines, then)


def encrypt(
    model: str,
    *,
    out: Path,
    key: Path | None = None,
    new_key: Path | None = None,
    passphrase_file: Path | None = None,
    output: Output = OUTPUT,
) -> None:
    """Write a model into one file that only a key file or a passphrase opens.

    Example: bowerbird encrypt poems@live --out poems.enc --new-key poems.key

    Without --key or --passphrase-file the passphrase is BOWERBIRD_PASSPHRASE, or asked for on a terminal.

    Parameters
    ----------
    model
        A run, a bundle, or a name as poems@live.
    out
        The file to make.
    key
        A file of 32 bytes, or of 64 hexadecimal digits.
    new_key
        Make such a key file first. Without it the model cannot be had back.
    passphrase_file
        A file whose first line is the passphrase.
    """
    from bowerbird import lifecycle
    from bowerbird.store.encryption import new_key_file

    if key is not None and new_key is not None:
        raise UsageError("--key and --new-key are two ways to give one thing", hint="give one of them")
    secret = _secret(key or new_key, passphrase_file, twice=True)
    if new_key is not None:
        new_key_file(new_key)
    made = lifecycle.encrypt(model, out, **secret, workspace=space(output))
    size = out.stat().st_size
    told = {"path": str(out), "digest": made.digest, "size_bytes": size, "secret": next(iter(secret))}
    lines = [f"encrypted {model}: {out} ({size / 1e6:.1f} MB)"]
    show.result(output, told, lines, f"bowerbird decrypt {out} --out BUNDLE")


def decrypt(
    file: Path,
    *,
    out: Path,
    key: Path | None = None,
    passphrase_file: Path | None = None,
    output: Output = OUTPUT,
) -> None:
    """Bring an encrypted model back into a bundle folder, checked, or write nothing.

    Example: bowerbird decrypt poems.enc --out bundles/poems --key poems.key

    Without --key or --passphrase-file the passphrase is BOWERBIRD_PASSPHRASE, or asked for on a terminal.

    Parameters
    ----------
    file
        A file that encrypt made.
    out
        The bundle folder to make.
    key
        The key file it was encrypted with.
    passphrase_file
        A file whose first line is the passphrase.
    """
    from bowerbird import lifecycle
    from bowerbird.store.signing import signature_of

    if not file.is_file():  # before a passphrase is asked for
        raise NotFound("there is no encrypted file here", where=file)
    made = lifecycle.decrypt(file, out, **_secret(key, passphrase_file, twice=False))
    signature = signature_of(made.path)
    told = {
        "path": str(made.path),
        "digest": made.digest,
        "kind": made.kind,
        "signature": str(signature) if signature.is_file() else None,
    }
    show.result(output, told, [f"decrypted {file}: {out}"], f"bowerbird generate {out}")


def _told(model: str, signed: Any) -> dict[str, Any]:
    return {
        "model": model,
        "path": str(signed.path),
        "digest": signed.digest,
        "signature": str(signed.signature),
        "key": signed.key,
    }


def _secret(key: Path | None, passphrase_file: Path | None, *, twice: bool) -> dict[str, Any]:
    """`key` or `passphrase`, as the stages take them."""
    if key is None:
        return {"passphrase": read_passphrase(passphrase_file, twice=twice)}
    if passphrase_file is not None:
        raise UsageError("a key file and a passphrase are two ways to encrypt", hint="give one of them")
    return {"key": key}


def read_passphrase(file: Path | None, *, twice: bool = False) -> str | None:
    """From a file, else from the environment, else from whoever sits at the terminal; None where nobody does."""
    if file is not None:
        if not file.is_file():
            raise NotFound("there is no passphrase file here", where=file)
        with file.open("rb") as opened:
            content = opened.read(_MOST_BYTES)
        try:
            return content.decode("utf-8").partition("\n")[0].removesuffix("\r")
        except UnicodeDecodeError as error:
            raise UsageError("this is not a passphrase: it is not UTF-8", where=file) from error
    told = os.environ.get(PASSPHRASE)
    if told is not None or not sys.stdin.isatty():
        return told
    typed = getpass("passphrase: ")
    if twice and getpass("once more: ") != typed:
        raise UsageError("the two passphrases are not equal")
    return typed


def add(app: App) -> None:
    for command in (sign, verify, encrypt, decrypt):
        app.command(command)
