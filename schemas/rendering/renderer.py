"""`Renderer(schema)`: Avro's bytes to a JSON tree, and that tree to JSON's bytes. The one way from Avro to JSON.

`read(data, start)` reads one value as the tree that it is in JSON (see `logical.py` for the forms), from which a
mapping takes what it needs; `render(tree)` writes a tree, or a part of one. So a body costs one pass in C over the
Avro bytes, one Python call for each value of a logical type, and one pass in C over the tree. Named types, aliases,
references and recursive types are what they are to fastavro; a union's value stands untagged, in the form of the
branch that was written.

Nothing that a record holds raises anything but `UndecodableError` (the bytes are none of this schema) and
`UnrenderableError` (they are, and JSON cannot say it; with the path).
"""

from __future__ import annotations

from io import BytesIO

import fastavro
from fastavro import schemaless_reader

from hookstream.schemas.avro_cost import is_recursive
from hookstream.schemas.avro_schema import AvroSchema, Node, wrapped
from hookstream.schemas.errors import InvalidSchemaError, UndecodableError
from hookstream.schemas.wire import read_recursive

from . import json_tree
from .json_tree import JsonTree
from .logical import marks

_TOO_DEEP = f"a value that is nested more than {json_tree.MAX_DEPTH} deep"
# The one field of the record that a value is wrapped in, so that a schema of any type is a record's.
_FIELD = "value"


class Renderer:
    """Reads and writes the values of one schema. Immutable; may be used from any thread.

    `text` is a whole schema of any type. Made once for each schema: that takes a millisecond.
    """

    __slots__ = ("_read", "_recursive", "_schema", "schema")

    def __init__(self, text: str | bytes) -> None:
        """Compile it.

        Raises:
            InvalidSchemaError: it is no Avro schema, or its values could not be read within bounds.
        """
        self.schema = AvroSchema(wrapped(text, _FIELD))
        self._recursive = is_recursive(self.schema)
        self._read = read_recursive if self._recursive else schemaless_reader
        try:
            self._schema = fastavro.parse_schema(self.schema.marked(marks))
        except InvalidSchemaError:
            raise
        except Exception as exc:  # whatever fastavro makes of a schema that it has taken once
            msg = f"a schema that cannot be read by ({type(exc).__name__})"
            raise InvalidSchemaError(msg) from exc

    @property
    def root(self) -> Node:
        """The type of the values."""
        return self.schema.fields(self.schema.root)[_FIELD]["type"]

    def read(self, data: bytes, start: int = 0) -> JsonTree:
        """Read the one value that begins at `start` and ends with the data.

        Raises:
            UndecodableError: the bytes are no value of this schema, or more than one, or one that is nested too deeply.
        """
        buffer = BytesIO(data)
        buffer.seek(start)
        try:
            record: JsonTree = self._read(buffer, self._schema, None)
        except RecursionError:
            raise UndecodableError(_TOO_DEEP) from None
        except Exception as exc:  # noqa: BLE001 - whatever fastavro makes of the bytes
            msg = f"the value does not match its schema ({type(exc).__name__})"
            raise UndecodableError(msg) from None
        if buffer.tell() != len(data):
            msg = f"{len(data) - buffer.tell()} bytes after the end of the value"
            raise UndecodableError(msg)
        tree = record[_FIELD]
        # Without this, how deep a record may be would depend on who calls, and on the record's length.
        if self._recursive and json_tree.is_too_deep(tree):
            raise UndecodableError(_TOO_DEEP)
        return tree

    def render(self, tree: JsonTree, at: str = "data") -> bytes:
        """Write what `read` gave, or a part of it, which stands at the path `at`.

        Raises:
            UnrenderableError: JSON has no form for a part of it; the message begins with that part's path.
        """
        return json_tree.dump(tree, at)
