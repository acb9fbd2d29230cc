"""The transactional outbox: an event is sent if, and only if, the transaction that made it commits.

`enqueue` writes into a table of the service's own database, in the service's own transaction; the relay
(`hookstream outbox-relay`) sends what was committed, at least once, and deletes it when Kafka has acknowledged it.

**Order.** Events of one resource are sent in the order in which `enqueue` took them, across transactions. Ids alone
would not give that on PostgreSQL: they are drawn before the commit, so id 2 can be visible, and sent, while id 1 is
still in an open transaction. Therefore `enqueue` first takes an advisory lock of the resource, held to the end of the
transaction: a second transaction with an event of the same resource draws its id when the first has ended. So ids of
one resource become visible in their order, and no transaction waits for one about another resource. SQLite has one
writer at a time, which gives the same.

As with row locks, transactions that take the same resources in different orders can deadlock; PostgreSQL then aborts
one of them. `enqueue` the events of one transaction in one order (by resource) where that matters.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from typing import Any, TypeAlias
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Column,
    Engine,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    func,
    insert,
    select,
)
from sqlalchemy.engine import Connection, Row
from sqlalchemy.orm import Session

from hookstream.schemas.catalogue import Catalogue
from hookstream.schemas.codecs.events import WrittenEvent, check_event, data_of, data_writer, write_event
from hookstream.schemas.event import Concept, Event, EventName

from .errors import UnsupportedDatabaseError
from .tracing import current_traceparent

OutboxRow: TypeAlias = Row[Any]  # SQLAlchemy cannot type the rows of a Core table

_MAX_RESOURCE_CHARS = 255

METADATA = MetaData()
"""For Alembic: `target_metadata = [YourBase.metadata, hookstream.producers.outbox.METADATA]`."""

OUTBOX = Table(
    "hookstream_outbox",
    METADATA,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("resource", String(_MAX_RESOURCE_CHARS), nullable=False),
    Column("event_id", String(36), nullable=False),
    Column("event", String(255), nullable=False),
    # Ids are JSON: `434` is an integer, `"434"` a string.
    Column("client", Text, nullable=False),
    Column("concept_id", Text, nullable=False),
    Column("sub_namespace", Text, nullable=True),
    Column("occurred_at_ms", BigInteger, nullable=False),
    # Of an event with data: its Avro bytes, and the schema that they were written with. They are sent as they are.
    Column("value", LargeBinary, nullable=True),
    Column("schema_text", Text, nullable=True),
    # The trace that enqueued it, for the relay sends it in another process.
    Column("traceparent", String(55), nullable=True),
    # Why it cannot be sent, in words for the operator; rows of the same resource behind it wait with it.
    Column("parked", Text, nullable=True),
    Index("ix_hookstream_outbox_resource", "resource", "id"),
    sqlite_autoincrement=True,  # an id is never used twice, not even the last one's after its deletion
)


def create_tables(engine: Engine) -> None:
    """Create the outbox table where it does not exist; services with Alembic use `METADATA` instead."""
    METADATA.create_all(engine)


def enqueue(session: Session | Connection, event: Event, *, catalogue: Catalogue | None = None) -> None:
    """Put an event into the outbox of the caller's open transaction; its commit or rollback decides.

    Waits while another transaction holds an event of the same resource. `catalogue` is the shipped one if not given.
    With an `AsyncSession`: `await session.run_sync(enqueue, event)`.

    Raises:
        UnknownEventError, InvalidValueError: nothing was written.
        UnsupportedDatabaseError: neither PostgreSQL nor SQLite.
    """
    catalogue = catalogue or _shipped()
    catalogue.require_written(event.name)
    check_event(event, catalogue)
    has_data = data_writer(catalogue.schema_text(event.namespace)) is not None
    written = write_event(catalogue, event) if has_data else None
    traceparent = current_traceparent()
    connection = session.connection() if isinstance(session, Session) else session
    resource = _resource(event)
    if require_supported(connection) == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_lock_number(resource))))
    connection.execute(
        insert(OUTBOX).values(
            resource=resource,
            event_id=str(event.id),
            event=event.name,
            client=_written(event.client),
            concept_id=_written(event.concept.id),
            sub_namespace=event.concept.sub_namespace,
            occurred_at_ms=event.occurred_at_ms,
            value=None if written is None else written.value,
            schema_text=None if written is None else written.schema_text,
            traceparent=None if traceparent is None else traceparent.decode(),
        )
    )


def event_of(row: OutboxRow) -> Event:
    """Give the event that a row of the outbox holds."""
    name = EventName(row.event)
    written = written_of(row)
    return Event(
        id=UUID(row.event_id),
        name=name,
        client=_read(row.client),
        concept=Concept(id=_read(row.concept_id), namespace=name.partition(".")[0], sub_namespace=row.sub_namespace),
        occurred_at_ms=row.occurred_at_ms,
        data=None if written is None else data_of(written),
    )


def written_of(row: OutboxRow) -> WrittenEvent | None:
    """Give the bytes of a row's event, where they were written when it was enqueued."""
    return None if row.value is None else WrittenEvent(row.schema_text, row.value)


def traceparent_of(row: OutboxRow) -> bytes | None:
    """Give the trace that enqueued a row."""
    return None if row.traceparent is None else row.traceparent.encode()


def require_supported(connection: Connection) -> str:
    """Give the dialect's name.

    Raises:
        UnsupportedDatabaseError: neither PostgreSQL nor SQLite.
    """
    dialect = connection.dialect.name
    if dialect not in ("postgresql", "sqlite"):
        msg = f"the outbox keeps order on PostgreSQL and SQLite, not on {dialect}"
        raise UnsupportedDatabaseError(msg)
    return dialect


def _resource(event: Event) -> str:
    """Name the resource; a name that is too long for its column, for an index, or unclear by its bars, by a digest."""
    parts = (str(event.client), event.concept.namespace, str(event.concept.id))
    name = "|".join(parts)
    if len(name) <= _MAX_RESOURCE_CHARS and name.isascii() and name.count("|") == len(parts) - 1:
        return name
    name = json.dumps(parts)
    return hashlib.blake2b(name.encode(), digest_size=32, person=b"hookstream").hexdigest()


def _written(value: int | str) -> str:
    return json.dumps(value)


def _read(text: str) -> int | str:
    value: int | str = json.loads(text)
    return value


def _lock_number(resource: str) -> int:
    """Give the advisory lock of a resource; two that share one only wait for each other."""
    digest = hashlib.blake2b(resource.encode(), digest_size=8, person=b"hookstream").digest()
    return int.from_bytes(digest, "big", signed=True)


@cache
def _shipped() -> Catalogue:
    return Catalogue.shipped()
