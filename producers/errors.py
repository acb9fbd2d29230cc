"""What can go wrong between a producing service and the log.

ProducerError                     `retriable` says whether the same call may succeed later
├── ProducerConfigError           settings that would break a promise, such as acks=1
├── RegistryError
│   ├── RegistryUnavailableError  no answer, or none that can be trusted (retriable)
│   ├── RegistryRefusedError      an answer that says no: credentials, URL, malformed schema
│   ├── IncompatibleSchemaError   409: the schema would break readers of what was written before
│   ├── NotRegisteredError        the subject does not hold this schema
│   └── UnknownSchemaIdError      no schema of that id; also an `UndecodableError`, the bytes that named it are garbage
├── QueueFullError                the local queue stayed full to the deadline; the event was not accepted (retriable)
├── DeliveryFailedError           the broker, or the deadline, refused a record that had been accepted
├── FlushTimeoutError             records were still unacknowledged at the deadline (retriable)
├── ProducerClosedError           produced after close
└── UnsupportedDatabaseError      the outbox knows how to keep order on PostgreSQL and SQLite alone

An unknown event or a bad value is an `UnknownEventError` or `InvalidValueError` of `hookstream.schemas`.
"""

from __future__ import annotations

from hookstream.schemas.errors import UndecodableError


class ProducerError(Exception):
    """Root of this package's errors."""

    retriable = False


class ProducerConfigError(ProducerError):
    """Settings that would break a promise."""


class RegistryError(ProducerError):
    """The schema registry could not do what was asked."""


class RegistryUnavailableError(RegistryError):
    """The registry gave no answer, or none that can be trusted."""

    retriable = True


class RegistryRefusedError(RegistryError):
    """The registry said no, and would say it again."""


class IncompatibleSchemaError(RegistryError):
    """The schema would break readers of what was written before."""


class NotRegisteredError(RegistryError):
    """The subject does not hold this schema."""


class UnknownSchemaIdError(RegistryError, UndecodableError):
    """There is no schema of that id."""


class QueueFullError(ProducerError):
    """The local queue stayed full to the deadline; the event was not accepted."""

    retriable = True


class DeliveryFailedError(ProducerError):
    """An accepted record was not acknowledged. It may be in the log all the same: produce it again with the same id.

    `record_refused` is True where the record itself was refused (its size, its form), so that the next one may pass.
    """

    def __init__(self, message: str, *, retriable: bool, record_refused: bool) -> None:
        """Say what happened, and whether it may go better."""
        super().__init__(message)
        self.retriable = retriable
        self.record_refused = record_refused


class FlushTimeoutError(ProducerError):
    """Records were still unacknowledged at the deadline; their futures stay open."""

    retriable = True


class ProducerClosedError(ProducerError):
    """Produced after close."""


class UnsupportedDatabaseError(ProducerError):
    """The outbox knows how to keep order on PostgreSQL and SQLite alone."""
