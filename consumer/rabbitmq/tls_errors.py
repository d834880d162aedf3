"""Explains why TLS failed, and what to change on which side. Pure: takes an exception, returns a sentence.

OpenSSL names a fault by its own constants. A server's alert does not name the cause of the refusal. If the server
resets the connection right after the alert, the alert may even be lost.
"""

from __future__ import annotations

import ssl

#: X509_V_ERR_*, from OpenSSL's x509_vfy.h.
_EXPIRED, _NOT_YET_VALID, _OTHER_NAME, _OTHER_ADDRESS = 10, 9, 62, 64
#: OpenSSL's error for an answer that is not TLS: AMQP's own header, or HTTP's.
_NOT_TLS = (
    "WRONG_VERSION_NUMBER",
    "RECORD_LAYER_FAILURE",
    "UNKNOWN_PROTOCOL",
    "PACKET_LENGTH_TOO_LONG",
    "HTTP_REQUEST",
)


def explain(error: BaseException, url: str, *, has_certificate: bool) -> str | None:
    """Explain the fault of an amqps:// connection and its remedy; None if TLS was not the cause.

    Args:
        error: the exception; its cause is examined, too.
        url: the URL to show, without its password.
        has_certificate: whether the connection presents a client certificate.
    """
    for fault in (error, error.__cause__):
        if isinstance(fault, ssl.SSLCertVerificationError):
            return _unverified(fault, url)
        if isinstance(fault, ssl.SSLError) and not isinstance(fault, ssl.SSLEOFError):
            return _failed(fault.reason or str(fault), url, has_certificate=has_certificate)
    return None


def hint(error: BaseException, url: str, *, has_certificate: bool) -> str:
    """Explain how TLS may have caused a close without a reason; empty if TLS cannot be the cause."""
    if not isinstance(error.__cause__, ConnectionResetError | EOFError | ssl.SSLEOFError):
        return ""
    if url.startswith("amqps:"):
        return f" Or RabbitMQ has refused TLS: {_remedy(has_certificate=has_certificate)}."
    return " A port for TLS needs amqps://."


def _unverified(error: ssl.SSLCertVerificationError, url: str) -> str:
    words = error.verify_message
    match error.verify_code:
        case n if n in (_OTHER_NAME, _OTHER_ADDRESS):
            return (
                f"RabbitMQ at {url} has a certificate for another host ({words}); write the certificate's host in "
                "amqp_url, or have this host added to the certificate"
            )
        case n if n in (_EXPIRED, _NOT_YET_VALID):
            return (
                f"RabbitMQ at {url} has a certificate that is not valid today ({words}); "
                "renew it there, or correct this machine's clock"
            )
        case _:
            return (
                f"RabbitMQ at {url} has a certificate that no trusted CA has signed ({words}); "
                "set amqp_ca_file to the certificate of the CA that signed it"
            )


def _failed(reason: str, url: str, *, has_certificate: bool) -> str:
    words = reason.replace("_", " ").lower()
    if reason in _NOT_TLS:
        return (
            f"RabbitMQ at {url} does not use TLS on this port; in amqp_url, write its TLS port (by default 5671), "
            "or amqp://"
        )
    if "PROTOCOL_VERSION" in reason or "UNSUPPORTED_PROTOCOL" in reason:
        return f"RabbitMQ at {url} offers no TLS 1.2 or later ({words}); allow one in its ssl_options.versions"
    if "ALERT" in reason:
        return f"RabbitMQ at {url} refused the TLS handshake ({words}); {_remedy(has_certificate=has_certificate)}"
    return f"TLS with RabbitMQ at {url} failed: {words}"


def _remedy(*, has_certificate: bool) -> str:
    if has_certificate:
        return "check that amqp_cert_file is valid today, for client use, and signed by a CA that RabbitMQ trusts"
    return "if it asks for a client certificate, set amqp_cert_file and amqp_key_file"
