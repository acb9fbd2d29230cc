"""What can go wrong between a delivery and its target.

DeliveryError
├── InvalidSecretError           a hook has no secret to sign with
├── InvalidProxyError            an egress proxy URL that cannot be used
├── BrokenAnswerError            bytes of a server that are no answer
└── AttemptError                 an attempt that ended before an answer; `result` is how it is recorded
    ├── ResolveError             dns-failed
    ├── BlockedAddressError      blocked: by the address guard or by the egress proxy; no connection was made
    ├── ConnectError             connect-failed: refused, unreachable, or the egress proxy cannot reach it
    │   └── ShortageError        this machine lacks descriptors, memory or threads: it is ours to mend
    ├── ConnectTimeoutError      timeout: no connection within the time for connecting
    └── TlsError                 tls-failed: certificate, host name or protocol
"""

from __future__ import annotations

from typing import ClassVar

from hookstream.schemas.attempt import AttemptResult


class DeliveryError(Exception):
    """Root of the errors of delivering."""


class InvalidSecretError(DeliveryError):
    """A hook has no secret to sign with."""


class InvalidProxyError(DeliveryError):
    """An egress proxy URL that cannot be used. The message never repeats the URL: it may hold a password."""


class BrokenAnswerError(DeliveryError):
    """The bytes of a server are no answer, or, where `complete`, follow one."""

    def __init__(self, *, complete: bool) -> None:
        """Say whether an answer was complete before them."""
        super().__init__("bytes that are no answer")
        self.complete = complete


class AttemptError(DeliveryError):
    """An attempt that ended before an answer."""

    result: ClassVar[AttemptResult] = AttemptResult.CONNECT_FAILED


class ResolveError(AttemptError):
    """The host has no address, or its name servers did not answer in time."""

    result = AttemptResult.DNS_FAILED


class BlockedAddressError(AttemptError):
    """The host has an address that targets may not have."""

    result = AttemptResult.BLOCKED


class ConnectError(AttemptError):
    """Refused, unreachable, or the egress proxy cannot reach it."""


class ShortageError(ConnectError):
    """This machine lacks what a connection needs: descriptors, memory, threads."""


class ConnectTimeoutError(AttemptError):
    """No connection within the time for connecting."""

    result = AttemptResult.TIMEOUT


class TlsError(AttemptError):
    """Certificate, host name or protocol."""

    result = AttemptResult.TLS_FAILED
