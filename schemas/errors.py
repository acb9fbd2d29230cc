"""What can be wrong with bytes or values.

SchemaError
├── UnknownEventError        no such event in the catalogue
├── InvalidValueError        a value outside what its schema allows
├── UndecodableError         bytes that are not Confluent wire format, or do not match their writer's schema
└── InvalidSchemaError       an .avsc file that is not a usable schema
"""


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
