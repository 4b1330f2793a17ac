"""TLS from two files: answered over HTTPS, and wrong files named before anything is served."""

from __future__ import annotations

import socket
import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tests.running_server import running

from bowerbird.base.errors import BowerbirdError, CorruptFile, NotFound, UsageError
from bowerbird.kinds.loaded import Model
from bowerbird.serving.app import create_app
from bowerbird.serving.limits import Limits
from bowerbird.serving.tls import tls_context


def make_pair(folder: Path, passphrase: bytes | None = None) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that is signed with its own key, and that key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(
            name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(1)
        )
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    hidden: Any = serialization.NoEncryption()
    if passphrase:
        hidden = serialization.BestAvailableEncryption(passphrase)
    folder.mkdir(exist_ok=True)
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (folder / "cert.pem").write_bytes(certificate.public_bytes(pem))
    (folder / "key.pem").write_bytes(key.private_bytes(pem, pkcs8, hidden))
    return folder / "cert.pem", folder / "key.pem"


def trusting(certificate: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(certificate))
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # of a certificate made for a test
    return context


def test_without_files_there_is_no_tls() -> None:
    assert tls_context(None, None) is None


def test_https_is_answered_and_plain_http_harms_nobody(model: Model, tmp_path: Path) -> None:
    certificate, key = make_pair(tmp_path)
    app = create_app({"tiny": model}, local=True)
    limits = Limits(head_seconds=1, connections=8)
    with running(app, limits=limits, tls=tls_context(certificate, key)) as url:
        assert url.startswith("https://127.0.0.1:")
        trust = trusting(certificate)
        plain = url.replace("https", "http")
        with httpx.Client(verify=trust, timeout=60) as client:
            for _ in range(3):
                asked = {"model": "tiny", "max_tokens": 3}
                assert client.post(f"{url}/v1/completions", json=asked).status_code == 200
                with pytest.raises(httpx.TransportError):
                    httpx.get(f"{plain}/health", timeout=60)
        host, port = plain.removeprefix("http://").split(":")
        silent = [socket.create_connection((host, int(port)), timeout=30) for _ in range(20)]
        assert httpx.get(f"{url}/health", verify=trust, timeout=60).status_code == 200
        for one in silent:  # who never shakes hands is let go
            assert one.recv(1) == b""
            one.close()
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            exact = trusting(certificate)
            exact.minimum_version = exact.maximum_version = version
            assert httpx.get(f"{url}/ready", verify=exact, timeout=60).status_code == 200


def test_tls_before_1_2_is_not_spoken(tmp_path: Path) -> None:
    context = tls_context(*make_pair(tmp_path))
    assert context is not None
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_wrong_files_are_named(tmp_path: Path) -> None:
    certificate, key = make_pair(tmp_path / "a")
    _, other = make_pair(tmp_path / "b")
    _, hidden = make_pair(tmp_path / "c", b"a passphrase")
    text = tmp_path / "text.pem"
    text.write_text("hello")
    cases: list[tuple[Any, Any, type[BowerbirdError], str]] = [
        (certificate, None, UsageError, "wants a certificate and its private key"),
        (None, key, UsageError, "wants a certificate and its private key"),
        (tmp_path / "nothing", key, NotFound, "no such file"),
        (certificate, tmp_path / "nothing", NotFound, "no such file"),
        (certificate, other, CorruptFile, "mismatch"),
        (certificate, hidden, UsageError, "passphrase"),
        (text, key, CorruptFile, "cannot be used"),
        (certificate, text, CorruptFile, "cannot be used"),
        (key, certificate, CorruptFile, "cannot be used"),
    ]
    for first, second, kind, said in cases:
        with pytest.raises(kind, match=said):
            tls_context(first, second)
