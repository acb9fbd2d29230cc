"""The schema registry, as far as hookstream needs one: schemas by id, ids by schema, registration as a separate step.

Any registry with Confluent's API serves. `mock://NAME` is one within this process, shared by everyone who names it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from types import TracebackType
from typing import Self, TypeVar

from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from hookstream.schemas.errors import UndecodableError

from .errors import (
    IncompatibleSchemaError,
    NotRegisteredError,
    ProducerConfigError,
    RegistryError,
    RegistryRefusedError,
    RegistryUnavailableError,
    UnknownSchemaIdError,
)
from .schema_references import whole_text
from .unknown_ids import WAIT_S, UnknownIds

COMPATIBILITY = "BACKWARD_TRANSITIVE"
_MOCK = "mock://"
_REQUEST_TIMEOUT_S = 5
_UNAUTHORIZED = 401
_NOT_FOUND = 404
_CONFLICT = 409
_RETRIABLE_STATUS = frozenset({408, 429, 500, 502, 503, 504})
_NO_SUBJECT = 40401
_NO_VERSION = 40402
_NO_SCHEMA = 40403
_MOCK_NOT_FOUND = 40400  # the mock knows one code for all
_MISSING = frozenset({_NO_SUBJECT, _NO_VERSION, _NO_SCHEMA, _MOCK_NOT_FOUND})
_USUAL_PATHS = "usual are no path at all, and /apis/ccompat/v7 for Apicurio"
_CREDENTIALS = re.compile(r"//[^/@]*@")
_T = TypeVar("_T")


class SchemaRegistry:
    """A thin client; may be used from any thread. Every foreign error is translated here."""

    def __init__(
        self,
        url: str,
        options: Mapping[str, str | int | float | bool] | None = None,
        *,
        unknown_ids: UnknownIds | None = None,
    ) -> None:
        """Prepare a client; nothing is sent yet. `unknown_ids` says how often an id that is not known is asked again.

        Raises:
            ProducerConfigError: the URL or an option is not one.
        """
        self.url = url
        self.is_mock = url.startswith(_MOCK)
        self._texts: dict[int, str] = {}
        self._unknown_ids = unknown_ids or UnknownIds(wait_s=0.0 if self.is_mock else WAIT_S)  # a mock has no replicas
        self._client = mock_client(url) if self.is_mock else _client(url, options or {})

    def schema_text_by_id(self, schema_id: int, /) -> str:
        """Give the text of a schema with all that it refers to; asked once, a schema never changes under its id.

        An id that the registry does not know is asked for again for some seconds: a replica may not have it yet.

        Raises:
            UnknownSchemaIdError: the registry has none of that id.
            UndecodableError: it refers to more than may be, or to what does not fit.
            RegistryUnavailableError: it could not be asked; the same id may be known later.
        """
        text = self._texts.get(schema_id)
        if text is not None:
            return text
        believed = self._unknown_ids.answer(schema_id)
        if believed is not None:
            raise believed.with_traceback(None)
        while True:
            try:
                text = self._texts[schema_id] = self._ask_text(schema_id)
            except UndecodableError as exc:
                self._unknown_ids.remember(schema_id, exc)
                if not (isinstance(exc, UnknownSchemaIdError) and self._unknown_ids.wait(schema_id)):
                    raise
            else:
                return text

    def _ask_text(self, schema_id: int) -> str:
        about = f"schema {schema_id}"

        def referred(subject: str, version: int) -> Schema:
            found = self._translated(
                f"{about}, which refers to {subject} {version}",
                lambda: self._client.get_version(subject, version, deleted=True),
                UnknownSchemaIdError,
            )
            return found.schema

        schema = self._translated(about, lambda: self._client.get_schema(schema_id), UnknownSchemaIdError)
        return whole_text(about, schema, referred)

    def id_for(self, subject: str, schema_text: str) -> int:
        """Give the id under which a subject holds this very schema; registers nothing.

        Raises:
            NotRegisteredError: the subject does not hold it.
            RegistryUnavailableError: the registry could not be asked.
        """
        schema = _avro(schema_text)
        found = self._translated(subject, lambda: self._client.lookup_schema(subject, schema), NotRegisteredError)
        return _known(subject, found.schema_id)

    def register(self, subject: str, schema_text: str) -> int:
        """Make a subject hold this schema, and give its id; the same schema again gives the same id.

        Raises:
            IncompatibleSchemaError: readers of what was written before would break.
            RegistryUnavailableError: the registry could not be asked.
        """
        schema_id = self._translated(subject, lambda: self._client.register_schema(subject, _avro(schema_text)))
        return _known(subject, schema_id)

    def latest_text(self, subject: str) -> str | None:
        """Give the text of a subject's latest schema with all that it refers to; None where there is no such subject.

        Raises:
            UndecodableError: it refers to more than may be, or to what does not fit.
            RegistryUnavailableError: the registry could not be asked.
        """
        try:
            found = self._translated(subject, lambda: self._client.get_latest_version(subject), UnknownSchemaIdError)
        except UnknownSchemaIdError:
            return None
        return None if found.schema_id is None else self.schema_text_by_id(found.schema_id)

    def takes(self, subject: str, schema_text: str) -> bool:
        """Whether a subject would take this schema; one that does not exist takes every schema, and so does the mock.

        Raises:
            RegistryUnavailableError: the registry could not be asked.
        """
        if self.is_mock:
            return True
        schema = _avro(schema_text)
        try:
            return self._translated(
                subject, lambda: self._client.test_compatibility_all_versions(subject, schema), UnknownSchemaIdError
            )
        except UnknownSchemaIdError:
            return True

    def set_compatibility(self, subject: str, level: str = COMPATIBILITY) -> None:
        """Set what the subject accepts from now on. The mock accepts everything, and is left alone.

        Raises:
            RegistryUnavailableError: the registry could not be asked.
        """
        if not self.is_mock:
            self._translated(subject, lambda: self._client.set_compatibility(subject, level))

    def compatibility(self, subject: str) -> str:
        """Give what the subject accepts, by its own setting or the registry's; the mock has what is wanted.

        Raises:
            RegistryUnavailableError: the registry could not be asked.
        """
        if self.is_mock:
            return COMPATIBILITY

        def ask() -> str:
            try:
                return self._client.get_compatibility(subject)
            except SchemaRegistryError as exc:
                if exc.http_status_code != _NOT_FOUND:
                    raise
                return self._client.get_compatibility()  # the subject has none of its own

        return self._translated(subject, ask)

    def require_answer(self) -> None:
        """Return when the registry has answered a question whose answer is not cached; that it refuses is an answer.

        Raises:
            RegistryUnavailableError: it did not answer.
        """
        if not self.is_mock:
            with suppress(RegistryRefusedError):
                self._translated("the registry", self._client.get_compatibility)

    def close(self) -> None:
        """Close its connections; what is cached is still answered. The mock stays open, others share it."""
        if not self.is_mock:
            self._client.close()

    def __enter__(self) -> Self:
        """Use as a context: closed at its end."""
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        """Close."""
        self.close()

    def _translated(
        self, about: str, call: Callable[[], _T], missing: type[RegistryError] = RegistryRefusedError
    ) -> _T:
        url = _CREDENTIALS.sub("//", self.url)
        try:
            return call()
        except SchemaRegistryError as exc:
            raise _error(about, url, exc, missing) from exc
        except Exception as exc:  # whatever its HTTP client raises: no answer was read, so nothing is known
            msg = f"{about}: no answer from the schema registry at {url} ({type(exc).__name__})"
            raise RegistryUnavailableError(msg) from exc

    def wait_for(self, question: Callable[[], _T], deadline_s: float) -> _T:
        """Ask until the registry answers: for the start of a process, where it may come up later than we do.

        Raises:
            RegistryUnavailableError: it did not answer before the deadline.
        """
        retrying = Retrying(
            retry=retry_if_exception_type(RegistryUnavailableError),
            wait=wait_random_exponential(multiplier=0.1, max=2),
            stop=stop_after_delay(deadline_s),
            reraise=True,
        )
        return retrying(question)


@cache
def mock_client(url: str) -> SchemaRegistryClient:
    """One store per URL and process: each mock client has its own, and the parts of a process have to meet in one."""
    return SchemaRegistryClient.new_client({"url": url})


def _client(url: str, options: Mapping[str, str | int | float | bool]) -> SchemaRegistryClient:
    conf = {"timeout": _REQUEST_TIMEOUT_S, "max.retries": 1, "retries.wait.ms": 100, **options, "url": url}
    try:
        return SchemaRegistryClient(conf)
    except (ValueError, TypeError, OSError) as exc:
        msg = f"the URL or the options of the schema registry are not valid ({type(exc).__name__})"
        raise ProducerConfigError(msg) from None  # the client's own words repeat the URL, which may hold a password


def _error(about: str, url: str, exc: SchemaRegistryError, missing: type[RegistryError]) -> RegistryError:
    """Decide what an answer means.

    "Not found" counts only with the registry's own code: a 404 of a wrong URL or a proxy must not turn good records
    into undecodable ones.
    """
    answer = f"HTTP {exc.http_status_code}, code {exc.error_code}"
    if exc.http_status_code == _NOT_FOUND and exc.error_code in _MISSING:
        if missing is NotRegisteredError:
            return NotRegisteredError(f"{about}: this schema is not registered; run `hookstream topics create`")
        return missing(f"{about}: the registry has none ({answer})")
    if exc.http_status_code == _CONFLICT:
        return IncompatibleSchemaError(f"{about}: incompatible with an earlier version: {exc.error_message}")
    if exc.http_status_code in _RETRIABLE_STATUS:
        return RegistryUnavailableError(f"{about}: the schema registry at {url} cannot answer now ({answer})")
    return RegistryRefusedError(f"{about}: {_refusal(url, exc, answer)}")


def _refusal(url: str, exc: SchemaRegistryError, answer: str) -> str:
    if exc.http_status_code == _NOT_FOUND:
        return f"there is no schema registry at {url} ({answer}); {_USUAL_PATHS}"
    if exc.http_status_code == _UNAUTHORIZED:
        return f"the schema registry at {url} does not know our user or password"
    return f"the schema registry at {url} refused ({answer}): {exc.error_message}"


def _known(subject: str, schema_id: int | None) -> int:
    if schema_id is None:
        msg = f"{subject}: the registry's answer has no id"
        raise RegistryUnavailableError(msg)
    return schema_id


def _avro(text: str) -> Schema:
    return Schema(text, schema_type="AVRO")
