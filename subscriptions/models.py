"""The tables. Every change of them is a migration; a test compares both on PostgreSQL and SQLite.

Times are wall time in Unix milliseconds. Ciphertexts are base64 in JSON, for both databases can read that.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Dialect,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
    literal_column,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from hookstream.schemas.ids import MAX_ID_CHARS

# Names are spelled out so that both databases, and every migration to come, call a constraint the same.
NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "pk": "pk_%(table_name)s",
}

# An id of a client or a resource. Its order is that of code points, as SQLite's and Python's is.
IdText = String(MAX_ID_CHARS).with_variant(String(MAX_ID_CHARS, collation="C"), "postgresql")

# SQLite numbers rows by itself only where the key is spelled INTEGER.
_RowId = BigInteger().with_variant(Integer(), "sqlite")


def _partial_index(name: str, *columns: str, where: str, unique: bool = False) -> Index:
    """An index of the rows that a condition is true of, on both databases."""
    return Index(name, *columns, unique=unique, postgresql_where=text(where), sqlite_where=text(where))


class Role(StrEnum):
    """What a token may do."""

    INTEGRATOR = "integrator"  # hooks of one client
    PLATFORM = "platform"  # publish events
    OPERATOR = "operator"  # see and steer every client's hooks


class DisabledReason(StrEnum):
    """Why a hook is disabled."""

    REQUESTED = "requested"  # through the API
    GONE = "gone"  # its target answered 410
    FAILING = "failing"  # nothing but failure for five days


class Ciphertexts(TypeDecorator[tuple[bytes, ...]]):
    """Sealed secrets, newest first."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: tuple[bytes, ...] | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """To the database."""
        return None if value is None else json.dumps([base64.b64encode(item).decode() for item in value])

    def process_result_value(self, value: str | None, dialect: Dialect) -> tuple[bytes, ...] | None:  # noqa: ARG002
        """From the database."""
        return None if value is None else tuple(base64.b64decode(item) for item in json.loads(value))


class Base(DeclarativeBase):
    """Root of the tables."""

    metadata = MetaData(naming_convention=NAMING)


class SubscriptionRow(Base):
    """What one client wants done with one event. The row outlives its hooks, so that `revision` never falls.

    `revision` above `published_revision` is the outbox: the relay publishes the row and sets both equal.
    `published_offset` is where the row stands in the `subscriptions` topic. `tombstoned` is set when the tombstone of
    a deletion was published there, and cleared by every write. All secrets but the first are dropped at
    `old_secrets_until_ms`.
    """

    __tablename__ = "subscription_keys"

    client: Mapped[str] = mapped_column(IdText, primary_key=True)
    event: Mapped[str] = mapped_column(Text, primary_key=True)
    hook_id: Mapped[int] = mapped_column(BigInteger, unique=True)
    target: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(16))
    disabled_reason: Mapped[str | None] = mapped_column(String(16))
    revision: Mapped[int] = mapped_column(BigInteger)
    published_revision: Mapped[int] = mapped_column(BigInteger, default=0)
    published_offset: Mapped[int | None] = mapped_column(BigInteger)
    tombstoned: Mapped[bool] = mapped_column(Boolean, default=False)
    secrets: Mapped[tuple[bytes, ...]] = mapped_column(Ciphertexts)
    old_secrets_until_ms: Mapped[int | None] = mapped_column(BigInteger)
    not_before_ms: Mapped[int] = mapped_column(BigInteger, default=0)
    rate_limit_per_s: Mapped[float | None] = mapped_column(Float(53))
    created_at_ms: Mapped[int] = mapped_column(BigInteger)
    updated_at_ms: Mapped[int] = mapped_column(BigInteger)

    __table_args__ = (
        CheckConstraint("state IN ('enabled', 'disabled', 'deleted')", name="state"),
        CheckConstraint("revision >= published_revision", name="revision"),
        # Lists are of hooks that live, in the order of ids; those of one event, or disabled ones, may be far apart.
        _partial_index("ix_subscription_keys_living", "hook_id", where="state <> 'deleted'"),
        _partial_index("ix_subscription_keys_event", "event", "hook_id", where="state <> 'deleted'"),
        _partial_index("ix_subscription_keys_disabled", "hook_id", where="state = 'disabled'"),
        _partial_index("ix_subscription_keys_pending", "updated_at_ms", where="revision > published_revision"),
        _partial_index(
            "ix_subscription_keys_tombstones", "updated_at_ms", where="state = 'deleted' AND NOT tombstoned"
        ),
        _partial_index(
            "ix_subscription_keys_old_secrets", "old_secrets_until_ms", where="old_secrets_until_ms IS NOT NULL"
        ),
    )


# With the states as literals, as the partial indexes have them: so both databases see that these serve.
LIVING: Final = SubscriptionRow.state != literal_column("'deleted'")
DISABLED: Final = SubscriptionRow.state == literal_column("'disabled'")


class CounterRow(Base):
    """A number that only grows. Its row is locked until the taker commits, so numbers appear in their order."""

    __tablename__ = "counters"

    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    value: Mapped[int] = mapped_column(BigInteger)


class TokenRow(Base):
    """An API token, by its hash."""

    __tablename__ = "tokens"

    id: Mapped[int] = mapped_column(_RowId, primary_key=True)
    hash: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    role: Mapped[str] = mapped_column(String(16))
    client: Mapped[str | None] = mapped_column(IdText)
    name: Mapped[str] = mapped_column(String(200))
    created_at_ms: Mapped[int] = mapped_column(BigInteger)
    last_used_at_ms: Mapped[int | None] = mapped_column(BigInteger)
    expires_at_ms: Mapped[int | None] = mapped_column(BigInteger)
    revoked_at_ms: Mapped[int | None] = mapped_column(BigInteger)

    __table_args__ = (
        CheckConstraint("role IN ('integrator', 'platform', 'operator')", name="role"),
        CheckConstraint("(role = 'integrator') = (client IS NOT NULL)", name="client"),
    )


class PortalLinkRow(Base):
    """A link into the portal that was not used yet, by the hash of its key. It is of the token that made it."""

    __tablename__ = "portal_links"

    hash: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    token_id: Mapped[int] = mapped_column(BigInteger)
    client: Mapped[str] = mapped_column(IdText)
    created_at_ms: Mapped[int] = mapped_column(BigInteger)
    expires_at_ms: Mapped[int] = mapped_column(BigInteger, index=True)


class PortalSessionRow(Base):
    """A session of the portal, by the hash of its key. `client` is set where a link opened it: it sees that one."""

    __tablename__ = "portal_sessions"

    id: Mapped[int] = mapped_column(_RowId, primary_key=True)
    hash: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    token_id: Mapped[int] = mapped_column(BigInteger)
    client: Mapped[str | None] = mapped_column(IdText)
    created_at_ms: Mapped[int] = mapped_column(BigInteger)
    expires_at_ms: Mapped[int] = mapped_column(BigInteger, index=True)


class IdempotencyRow(Base):
    """The first answer to a creation, sealed, for it holds the secret."""

    __tablename__ = "idempotency_keys"

    client: Mapped[str] = mapped_column(IdText, primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    request_hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    answer: Mapped[bytes] = mapped_column(LargeBinary)
    created_at_ms: Mapped[int] = mapped_column(BigInteger, index=True)


class AuditRow(Base):
    """Who did what to which hook, when; written in the transaction of the deed.

    Lists show the newest first, by `at_ms` and `id`, and each filter has an index in that order.
    """

    __tablename__ = "audit"

    id: Mapped[int] = mapped_column(_RowId, primary_key=True)
    at_ms: Mapped[int] = mapped_column(BigInteger)
    actor: Mapped[str] = mapped_column(String(250))
    action: Mapped[str] = mapped_column(String(60))
    client: Mapped[str | None] = mapped_column(IdText)
    event: Mapped[str | None] = mapped_column(Text)
    hook_id: Mapped[int | None] = mapped_column(BigInteger)
    detail: Mapped[Mapping[str, object]] = mapped_column(JSON)

    __table_args__ = (
        Index("ix_audit_at", "at_ms", "id"),
        Index("ix_audit_client", "client", "at_ms", "id"),
        Index("ix_audit_hook", "hook_id", "at_ms", "id"),
        Index("ix_audit_actor", "actor", "at_ms", "id"),
        Index("ix_audit_action", "action", "at_ms", "id"),
    )


class AttemptRow(Base):
    """One HTTP request of one delivery. `id` is the order in which rows were written, which is roughly that of time.

    An attempt is identified by its delivery, by the record of `deliveries` or `deliveries.replay` that it was made for,
    and by its start and number: its own position in `attempts` would not do, for offsets begin again with a new topic.
    `replay` is empty on live ones. `logged_at_ms` is the append time of its record, which retention goes by.
    """

    __tablename__ = "attempts"

    id: Mapped[int] = mapped_column(_RowId, primary_key=True)
    delivery_id: Mapped[str] = mapped_column(Text)
    hook_id: Mapped[int] = mapped_column(BigInteger)
    hook_revision: Mapped[int] = mapped_column(BigInteger)
    client: Mapped[str] = mapped_column(IdText)
    event: Mapped[str] = mapped_column(Text)
    namespace: Mapped[str] = mapped_column(Text)
    concept_id: Mapped[str] = mapped_column(IdText)
    delivery_partition: Mapped[int] = mapped_column(Integer)
    delivery_offset: Mapped[int] = mapped_column(BigInteger)
    number: Mapped[int] = mapped_column(Integer)
    probe: Mapped[bool] = mapped_column(Boolean)
    replay: Mapped[str] = mapped_column(Text)
    started_at_ms: Mapped[int] = mapped_column(BigInteger)
    duration_ms: Mapped[float] = mapped_column(Float(53))
    result: Mapped[str] = mapped_column(String(20))
    status: Mapped[int | None] = mapped_column(Integer)
    answer: Mapped[bytes] = mapped_column(LargeBinary)
    logged_at_ms: Mapped[int] = mapped_column(BigInteger)

    __table_args__ = (
        UniqueConstraint(
            "delivery_id",
            "started_at_ms",
            "number",
            "delivery_partition",
            "delivery_offset",
            "replay",
            name="uq_attempts_identity",
        ),
        # Most questions are about attempts of one of both kinds, and a hook may have millions of the other.
        _partial_index("ix_attempts_hook_successes", "hook_id", "started_at_ms", "id", where="result = 'delivered'"),
        _partial_index("ix_attempts_hook_failures", "hook_id", "started_at_ms", "id", where="result <> 'delivered'"),
    )


class AttemptLogRow(Base):
    """How far a partition of `attempts` is in the table, written in the transaction of the attempts themselves.

    Everything that was appended to the partition from `covers_from_ms` on, and stands below `next_offset`, is there.
    `appended_at_ms` is the append time of the last record below it, None before the first. `topic_id` is Kafka's id of
    the topic that the offsets are of; where Kafka has none, one that a process made for as long as it lives.
    """

    __tablename__ = "attempt_log"

    partition: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    topic_id: Mapped[str] = mapped_column(String(40))
    next_offset: Mapped[int] = mapped_column(BigInteger)
    appended_at_ms: Mapped[int | None] = mapped_column(BigInteger)
    covers_from_ms: Mapped[int] = mapped_column(BigInteger)


class AttemptGapRow(Base):
    """Attempts of a client that workers could not record, since the first of them that is not too old."""

    __tablename__ = "attempt_gaps"

    client: Mapped[str] = mapped_column(IdText, primary_key=True)
    attempts: Mapped[int] = mapped_column(BigInteger)
    first_at_ms: Mapped[int] = mapped_column(BigInteger)
    last_at_ms: Mapped[int] = mapped_column(BigInteger)


class ReplayRow(Base):
    """A window of the log that is sent again. `client` None is every client's; `own`: an integrator asked for it.

    `stretches` is the window in offsets, rows of (topic, partition, start, end), fixed before the count. `matched`,
    `hooks` and `estimate_s` are what the dry run found. Whoever works on it is `lease_owner`, until `lease_until_ms`.
    A client has one unfinished `own` replay at most: of two that are asked for at once, one loses to the index.
    """

    __tablename__ = "replays"

    id: Mapped[int] = mapped_column(_RowId, primary_key=True)
    created_by: Mapped[str] = mapped_column(String(250))
    created_at_ms: Mapped[int] = mapped_column(BigInteger)
    updated_at_ms: Mapped[int] = mapped_column(BigInteger)
    started_at_ms: Mapped[int | None] = mapped_column(BigInteger)
    ended_at_ms: Mapped[int | None] = mapped_column(BigInteger)
    own: Mapped[bool] = mapped_column(Boolean)
    from_ms: Mapped[int] = mapped_column(BigInteger)
    to_ms: Mapped[int] = mapped_column(BigInteger)
    client: Mapped[str | None] = mapped_column(IdText, index=True)
    hook_id: Mapped[int | None] = mapped_column(BigInteger)
    event: Mapped[str | None] = mapped_column(Text)
    namespace: Mapped[str | None] = mapped_column(Text)
    concept_id: Mapped[str | None] = mapped_column(IdText)
    source: Mapped[str] = mapped_column(String(16))
    selection: Mapped[str] = mapped_column(String(16))
    rate_per_s: Mapped[float] = mapped_column(Float(53))
    endpoint_rate_per_s: Mapped[float] = mapped_column(Float(53))
    state: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str | None] = mapped_column(Text)
    stretches: Mapped[Sequence[tuple[str, int, int, int]] | None] = mapped_column(JSON(none_as_null=True))
    left_from_ms: Mapped[int | None] = mapped_column(BigInteger)
    matched: Mapped[int | None] = mapped_column(BigInteger)
    hooks: Mapped[Mapping[str, int] | None] = mapped_column(JSON(none_as_null=True))
    hook_count: Mapped[int | None] = mapped_column(BigInteger)
    estimate_s: Mapped[float | None] = mapped_column(Float(53))
    scanned: Mapped[int] = mapped_column(BigInteger)
    sent: Mapped[int] = mapped_column(BigInteger)
    expired: Mapped[int] = mapped_column(BigInteger)
    unreadable: Mapped[int] = mapped_column(BigInteger)
    lease_owner: Mapped[str | None] = mapped_column(String(40))
    lease_until_ms: Mapped[int] = mapped_column(BigInteger)

    __table_args__ = (
        CheckConstraint(
            "state IN ('counting', 'planned', 'running', 'paused', 'done', 'cancelled', 'failed')", name="state"
        ),
        _partial_index("ix_replays_work", "id", where="state IN ('counting', 'running')"),
        _partial_index(
            "ux_replays_own_unfinished",
            "client",
            where="own AND state IN ('counting', 'planned', 'running', 'paused')",
            unique=True,
        ),
    )


class NoticeRow(Base):
    """A notice about a hook that Kafka has not acknowledged yet, see `hookstream.schemas.notices`."""

    __tablename__ = "notices"

    id: Mapped[int] = mapped_column(_RowId, primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    client: Mapped[str] = mapped_column(IdText)
    target: Mapped[str] = mapped_column(Text)
    cause: Mapped[str] = mapped_column(Text)
    at_ms: Mapped[int] = mapped_column(BigInteger)
    hook_id: Mapped[int] = mapped_column(BigInteger)
    hook_event: Mapped[str] = mapped_column(Text)
    reason: Mapped[str | None] = mapped_column(String(16))


class EndpointSettingsRow(Base):
    """What operators want of one endpoint at present, see `hookstream.schemas.control`; `target_digest` is hex.

    `revision` above `published_revision` is the outbox, as in a subscription row; `published_partition` and
    `published_offset` are where the row stands in the `control` topic.
    """

    __tablename__ = "endpoint_settings"

    client: Mapped[str] = mapped_column(IdText, primary_key=True)
    target_digest: Mapped[str] = mapped_column(String(16), primary_key=True)
    paused: Mapped[bool] = mapped_column(Boolean)
    skip_before_ms: Mapped[int] = mapped_column(BigInteger)
    retry_at_ms: Mapped[int] = mapped_column(BigInteger)
    skipped: Mapped[list[Mapping[str, object]]] = mapped_column(JSON)
    asked_by: Mapped[str] = mapped_column(String(250))
    reason: Mapped[str] = mapped_column(Text)
    drained_by: Mapped[str] = mapped_column(String(250))
    drain_reason: Mapped[str] = mapped_column(Text)
    revision: Mapped[int] = mapped_column(BigInteger)
    published_revision: Mapped[int] = mapped_column(BigInteger)
    published_partition: Mapped[int | None] = mapped_column(Integer)
    published_offset: Mapped[int | None] = mapped_column(BigInteger)
    updated_at_ms: Mapped[int] = mapped_column(BigInteger)

    __table_args__ = (
        CheckConstraint("revision >= published_revision", name="revision"),
        _partial_index("ix_endpoint_settings_pending", "updated_at_ms", where="revision > published_revision"),
    )
