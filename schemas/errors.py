"""What can be wrong with bytes or values.

SchemaError
├── UnknownEventError        no such event in the catalogue
├── InvalidValueError        a value outside what its schema allows
├── UndecodableError         bytes that are not Confluent wire format, or do not match their writer's schema
├── UnrenderableError        a value that JSON cannot say
└── InvalidSchemaError       an .avsc file that is not a usable schema
    └── InvalidEnvelopeError an .avsc file that no event fits into
"""

from __future__ import annotations

from collections.abc import Sequence


class SchemaError(Exception):
    """Root of this package's errors."""


class UnknownEventError(SchemaError):
    """No such event in the catalogue. `hint` says what there is instead, without repeating the name."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class InvalidValueError(SchemaError):
    """A value outside what its schema allows. `field`: where it stands in an event, such as `concept.id`, if known."""

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class UndecodableError(SchemaError):
    """Bytes that are not Confluent wire format, or do not match their writer's schema."""


class InvalidSchemaError(SchemaError):
    """An .avsc file that is not a usable schema."""


class InvalidEnvelopeError(InvalidSchemaError):
    """A schema of a namespace that no event fits into. `faults` are all that was found, one sentence each."""

    def __init__(self, namespace: str, faults: Sequence[str]) -> None:
        super().__init__(f"{namespace}: {'; '.join(faults)}")
        self.faults = tuple(faults)


class UnrenderableError(SchemaError):
    """A value that JSON cannot say; the message begins with the value's path and never repeats the value."""
