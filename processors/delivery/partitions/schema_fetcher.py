"""Fetches schemas that deliveries were written with, as they are seen: waiting for the registry, never in the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from hookstream.processors.delivery.engine.catch_up import BacklogRecord
from hookstream.processors.lifecycle import Health, StopSignal
from hookstream.producers.errors import RegistryError
from hookstream.schemas.delivery import Delivery, DeliveryId
from hookstream.schemas.errors import UndecodableError
from hookstream.schemas.event import ClientId, EventName
from hookstream.schemas.hook import HookId, Revision

from .known_schemas import KnownSchemas, SchemaNotFetchedError

_ASK_EVERY_S = 1.0
_COMPONENT = "schema registry"

# In place of a pending record that cannot be decoded: it was made a dead letter, and no engine knows such a hook.
_WITHOUT_HOOK = Delivery(
    id=DeliveryId(""),
    event=EventName(""),
    client=ClientId(""),
    concept_id="",
    namespace="",
    occurred_at_ms=0,
    hook_id=HookId(-1),
    hook_revision=Revision(0),
    source_topic="",
    source_partition=0,
    source_offset=0,
    arrived_ms=0,
    body=b"",
)


class SchemaFetcher:
    """A registry that does not answer makes no record undecodable: what needs it waits, and `/readyz` shows it."""

    def __init__(
        self,
        schemas: KnownSchemas,
        *,
        health: Health,
        stop: StopSignal,
        failed: Callable[[Exception], None],
    ) -> None:
        """Fetch into these schemas."""
        self._schemas = schemas
        self._health = health
        self._stop = stop
        self._failed = failed

    def fetch(self, schema_id: int, then: Callable[[], None]) -> None:
        """Fetch one in a thread, however long it takes; `then` is called in the loop, whose thread this is."""
        loop = asyncio.get_running_loop()

        def asked(future: asyncio.Future[None]) -> None:
            error = future.exception()
            if isinstance(error, RegistryError):
                self._health.down(_COMPONENT, str(error))
                loop.call_later(_ASK_EVERY_S, self.fetch, schema_id, then)
            elif isinstance(error, Exception):
                self._failed(error)
            else:
                self._health.up(_COMPONENT)
                then()

        loop.run_in_executor(None, self._schemas.fetch, schema_id).add_done_callback(asked)

    def prepare(self, records: Sequence[BacklogRecord]) -> bool:
        """Make sure that records can be decoded, or found undecodable; False: not now. Any thread but the loop's."""
        for schema_id in self._schemas.missing(record.value for record in records):
            try:
                self._schemas.fetch(schema_id)
            except RegistryError as exc:
                self._health.down(_COMPONENT, str(exc))
                self._stop.wait(_ASK_EVERY_S)
                return False
            self._health.up(_COMPONENT)
        return True


def backlog_decoder(decode: Callable[[bytes | None], Delivery]) -> Callable[[bytes], Delivery]:
    """Decode what is read for cursors, after `prepare`; an undecodable record, a dead letter already, has no hook."""

    def decode_backlog(value: bytes) -> Delivery:
        try:
            return decode(value)
        except (UndecodableError, SchemaNotFetchedError):
            return _WITHOUT_HOOK

    return decode_backlog
