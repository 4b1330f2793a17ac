"""TLS from two files: a certificate with its chain, and its private key, both in PEM form."""

from __future__ import annotations

import ssl
from pathlib import Path

from bowerbird.base.errors import CorruptFile, NotFound, UsageError


def tls_context(certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    """What a server speaks TLS with, 1.2 or later; None where no files are given.

    Raises:
        UsageError: only one of the two is given, or the key is protected by a passphrase.
        NotFound: a file is not there.
        CorruptFile: a file is not what it should be, or the key belongs to another certificate.
    """
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise UsageError("TLS wants a certificate and its private key", hint="--tls-cert FILE --tls-key FILE")
    for file in (certificate, key):
        if not file.is_file():
            raise NotFound("there is no such file", where=file)
    protected = False

    def passphrase() -> str:  # without it OpenSSL would ask at the terminal, and a service wait for ever
        nonlocal protected
        protected = True
        return ""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certificate, key, passphrase)
    except (ssl.SSLError, ValueError) as error:
        if protected:
            raise UsageError(
                "the private key is protected by a passphrase",
                where=key,
                hint=f"take it off, into a file of yours alone: openssl pkey -in {key} -out FILE",
            ) from None
        reason = getattr(error, "reason", None) or "not in PEM form"
        raise CorruptFile(
            f"the certificate and the key cannot be used: {reason.lower().replace('_', ' ')}",
            where=f"{certificate}, {key}",
            hint="the certificate with its chain, and the private key that belongs to it, in PEM form",
        ) from error
    return context
