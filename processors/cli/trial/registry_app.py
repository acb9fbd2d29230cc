"""The embedded schema registry over HTTP, for producers in other processes: the part of Confluent's API that they use.

What it does not do: it refuses no schema for what readers of earlier ones expect, and forgets everything when it ends.

Source: Confluent Schema Registry API 7, "Subjects", "Schemas", "Config", "Compatibility".
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import orjson
from confluent_kafka.schema_registry import RegisteredSchema, Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError
from fastavro import parse_schema
from fastavro.schema import SchemaParseException, UnknownType
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_MEDIA_TYPE = "application/vnd.schemaregistry.v1+json"
_MAX_BODY_BYTES = 4 * 1024 * 1024
_MAX_DIGITS = 9
_NOT_FOUND = 404
_UNPROCESSABLE = 422
_TOO_LARGE = 413
# Confluent's own codes; a client tells "there is none" from a wrong URL by them.
_NO_SUBJECT, _NO_VERSION, _NO_SCHEMA = 40401, 40402, 40403
_INVALID_SCHEMA, _INVALID_VERSION = 42201, 42202
_ACCEPTS_EVERYTHING = "NONE"

Handler: TypeAlias = Callable[[Request], Awaitable[object]]


def registry_app(client: SchemaRegistryClient) -> Starlette:
    """Serve what an embedded registry holds; `client` is one of `mock://`, and everything registered goes there."""
    handlers = _Handlers(client)
    routes: list[tuple[str, str, Handler]] = [
        ("GET", "/", handlers.root),
        ("GET", "/subjects", handlers.subjects),
        ("POST", "/subjects/{subject}", handlers.look_up),
        ("GET", "/subjects/{subject}/versions", handlers.versions),
        ("POST", "/subjects/{subject}/versions", handlers.register),
        ("GET", "/subjects/{subject}/versions/{version}", handlers.version),
        ("GET", "/schemas/types", handlers.types),
        ("GET", "/schemas/ids/{schema_id}", handlers.by_id),
        ("GET", "/config", handlers.level),
        ("PUT", "/config", handlers.set_level),
        ("GET", "/config/{subject}", handlers.level),
        ("PUT", "/config/{subject}", handlers.set_level),
        ("POST", "/compatibility/subjects/{subject}/versions", handlers.compatible),
        ("POST", "/compatibility/subjects/{subject}/versions/{version}", handlers.compatible),
    ]
    return Starlette(routes=[Route(path, _answering(handler), methods=[method]) for method, path, handler in routes])


class _RefusedError(Exception):
    """What is answered instead, in Confluent's form."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


class _Handlers:
    """One method for each route; what it gives is the answer's JSON."""

    def __init__(self, client: SchemaRegistryClient) -> None:
        self._client = client

    async def root(self, _request: Request) -> object:
        return {}

    async def subjects(self, _request: Request) -> object:
        return sorted(self._client.get_subjects())

    async def versions(self, request: Request) -> object:
        return self._known_versions(request.path_params["subject"])

    async def register(self, request: Request) -> object:
        schema = await _schema(request)
        return {"id": self._client.register_schema(request.path_params["subject"], schema)}

    async def look_up(self, request: Request) -> object:
        subject, schema = request.path_params["subject"], await _schema(request)
        self._known_versions(subject)
        try:
            return _registered(self._client.lookup_schema(subject, schema))
        except SchemaRegistryError:
            raise _RefusedError(_NOT_FOUND, _NO_SCHEMA, "Schema not found") from None

    async def version(self, request: Request) -> object:
        subject, wanted = request.path_params["subject"], request.path_params["version"]
        known = self._known_versions(subject)
        if wanted in ("latest", "-1"):
            number = known[-1]
        elif wanted.isascii() and wanted.isdecimal() and len(wanted) <= _MAX_DIGITS:
            number = int(wanted)
        else:
            raise _RefusedError(_UNPROCESSABLE, _INVALID_VERSION, "The version is neither a number nor `latest`")
        if number not in known:
            raise _RefusedError(_NOT_FOUND, _NO_VERSION, "Version not found")
        return _registered(self._client.get_version(subject, number))

    async def types(self, _request: Request) -> object:
        return ["AVRO", "JSON", "PROTOBUF"]

    async def by_id(self, request: Request) -> object:
        wanted = request.path_params["schema_id"]
        try:
            if not (wanted.isascii() and wanted.isdecimal() and len(wanted) <= _MAX_DIGITS):
                raise SchemaRegistryError(_NOT_FOUND, _NO_SCHEMA, "no id")
            return _fields(self._client.get_schema(int(wanted)))
        except SchemaRegistryError:
            raise _RefusedError(_NOT_FOUND, _NO_SCHEMA, "Schema not found") from None

    async def level(self, _request: Request) -> object:
        return {"compatibilityLevel": _ACCEPTS_EVERYTHING}

    async def set_level(self, _request: Request) -> object:
        return {"compatibility": _ACCEPTS_EVERYTHING}  # what is in force, whatever was asked for

    async def compatible(self, request: Request) -> object:
        await _schema(request)
        return {"is_compatible": True}

    def _known_versions(self, subject: str) -> list[int]:
        versions = sorted(self._client.get_versions(subject))
        if not versions:
            raise _RefusedError(_NOT_FOUND, _NO_SUBJECT, "Subject not found")
        return versions


def _answering(handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        try:
            status, content = 200, await handler(request)
        except _RefusedError as exc:
            status, content = exc.status, {"error_code": exc.code, "message": str(exc)}
        return Response(orjson.dumps(content), status_code=status, media_type=_MEDIA_TYPE)

    return answer


async def _schema(request: Request) -> Schema:
    """The schema of a body.

    Raises:
        _RefusedError: it is none.
    """
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _MAX_BODY_BYTES:
            raise _RefusedError(_TOO_LARGE, _TOO_LARGE, f"The body has more than {_MAX_BODY_BYTES} bytes")
    invalid = _RefusedError(_UNPROCESSABLE, _INVALID_SCHEMA, "Invalid schema")
    try:
        fields = orjson.loads(body)
        schema = Schema.from_dict(fields)
        whole = all(each.name and each.subject and each.version for each in schema.references or ())
        if not isinstance(schema.schema_str, str) or not whole:
            raise invalid
        if (schema.schema_type or "AVRO") == "AVRO":
            _check_avro(schema.schema_str, complete=not schema.references)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, SchemaParseException):
        raise invalid from None
    # As clients of Kafka's own kind send it: without what is the default.
    return Schema(schema.schema_str, schema.schema_type or "AVRO", schema.references)


def _check_avro(text: str, *, complete: bool) -> None:
    """Raise what fastavro raises where it is no schema; one that refers to others is not looked into."""
    parsed: Any = orjson.loads(text)
    try:
        parse_schema(parsed)
    except UnknownType:
        if complete:
            raise


def _registered(found: RegisteredSchema) -> dict[str, object]:
    named = {"subject": found.subject, "id": found.schema_id, "version": found.version}
    return {**named, **_fields(found.schema)}


def _fields(schema: Schema) -> dict[str, object]:
    """As Confluent's registry answers: what is the default is left out."""
    fields: dict[str, object] = {"schema": schema.schema_str}
    if schema.schema_type != "AVRO":
        fields["schemaType"] = schema.schema_type
    if schema.references:
        fields["references"] = [reference.to_dict() for reference in schema.references]
    return fields
