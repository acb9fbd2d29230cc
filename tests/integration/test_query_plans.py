"""Questions about few rows of long tables are answered by an index, also where PostgreSQL's guess is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from hookstream.schemas.event import EventName
from hookstream.schemas.hook import HookId
from hookstream.subscriptions.attempt_log import AttemptQuery, list_attempts
from hookstream.subscriptions.database import Sessions, open_database, open_sessions, reading
from hookstream.subscriptions.endpoints import EndpointQuery, last_outcomes, next_hooks
from hookstream.subscriptions.migrations import migrate
from hookstream.subscriptions.publication import SeenRow, judge, publish_pending, publish_tombstones
from hookstream.subscriptions.repository import HookQuery, HookRepository
from tests.support.postgres import new_database
from tests.support.query_plans import plans_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sqlalchemy import Engine
    from sqlalchemy.orm import Session

    from hookstream.schemas.hook import Hook

HOOKS, ATTEMPTS = 20_000, 20_000
FAILING = 5_000
# The older half was deleted, one in a thousand is disabled, ten have an event of their own; nothing is pending.
FILL = (
    """INSERT INTO subscription_keys (client, event, hook_id, target, state, revision, published_revision, tombstoned,
      secrets, not_before_ms, created_at_ms, updated_at_ms)
    SELECT (n / 2)::text, CASE WHEN n % 2000 = 0 THEN 'lead.deleted' ELSE (ARRAY['lead.new', 'lead.updated'])[n % 2 + 1]
      END, n, 'https://example.com/' || n / 2, CASE WHEN n <= 10000 THEN 'deleted' WHEN n % 1000 = 7 THEN 'disabled'
      ELSE 'enabled' END, 1, 1, n <= 10000, '[]', 0, n, n
    FROM generate_series(1, 20000) n""",
    """INSERT INTO attempts (delivery_id, hook_id, hook_revision, client, event, namespace, concept_id,
      delivery_partition, delivery_offset, number, probe, replay, started_at_ms, duration_ms, result, status, answer,
      logged_at_ms)
    SELECT 'msg_' || n, CASE WHEN n % 4 = 0 THEN 5000 ELSE n END, 1, '1', 'lead.new', 'lead', '1', 0, n, 1, false, '',
      n, 1, CASE WHEN n % 4 = 0 THEN 'timeout' ELSE 'delivered' END, NULL, '', n
    FROM generate_series(1, 20000) n""",
    "ANALYZE",
)


class NoPublisher:
    """A `ChangePublisher` that has nothing to publish."""

    def publish(self, hooks: Sequence[Hook]) -> Sequence[int]:
        """Fail where there is something."""
        raise AssertionError(hooks)

    def publish_tombstones(self, keys: Sequence[bytes]) -> Sequence[int]:
        """The same."""
        raise AssertionError(keys)


@pytest.fixture(scope="module")
def engine(postgres_url: str) -> Iterator[Engine]:
    for url in new_database(postgres_url):
        migrate(url)
        made = open_database(url)
        with made.begin() as connection:
            for statement in FILL:
                connection.execute(text(statement))
        yield made
        made.dispose()


def scans(engine: Engine, work: Callable[[], object]) -> list[str]:
    """What is read to answer: indexes by name, and tables that are read to their end."""
    return [scan for plan in plans_of(engine, work) for scan in plan.scans]


def read(engine: Engine, question: Callable[[Session], object]) -> list[str]:
    """The same of a question within a transaction that writes nothing."""

    def work() -> None:
        with reading(open_sessions(engine)) as session:
            question(session)

    return scans(engine, work)


@pytest.mark.parametrize(
    ("query", "index"),
    [
        (HookQuery(client=None), "ix_subscription_keys_living"),
        (HookQuery(client=None, after=15_000), "ix_subscription_keys_living"),
        (HookQuery(client=None, event=EventName("lead.deleted")), "ix_subscription_keys_event"),
    ],
)
def test_a_page_of_hooks_passes_no_other_hook(engine: Engine, query: HookQuery, index: str) -> None:
    assert read(engine, lambda session: HookRepository(session, "", 0).list(query)) == [index]


def test_a_page_of_disabled_endpoints_passes_no_enabled_one(engine: Engine) -> None:
    found = read(engine, lambda session: next_hooks(session, EndpointQuery(client=None, disabled=True)))
    assert found == ["ix_subscription_keys_disabled"]


def test_whether_anything_is_to_be_published_is_asked_of_what_is_pending(engine: Engine) -> None:
    """PostgreSQL guesses that a third of the rows are pending, so that any of them were found soon without an index."""
    sessions: Sessions = open_sessions(engine)
    assert scans(engine, lambda: publish_pending(sessions, NoPublisher(), limit=100)) == [
        "ix_subscription_keys_pending"
    ]
    assert scans(engine, lambda: publish_tombstones(sessions, NoPublisher(), deleted_before_ms=2**62, limit=100)) == [
        "ix_subscription_keys_tombstones"
    ]


def test_records_of_the_topic_are_compared_by_key_without_a_condition_for_each(engine: Engine) -> None:
    seen = [SeenRow(key=(str(n), "lead.new"), offset=n, revision=1) for n in range(100)]
    (plan,) = plans_of(engine, lambda: judge(open_sessions(engine), seen))
    assert "pk_subscription_keys" in plan.scans
    assert len(plan.lines) < len(seen) / 2


def test_no_question_is_compiled_first_or_shared_out_to_other_processes(engine: Engine) -> None:
    """A guess of many rows would have PostgreSQL prepare for longer than the question takes."""
    with reading(open_sessions(engine)) as session:
        assert session.scalar(text("SHOW jit")) == "off"
        assert session.scalar(text("SHOW max_parallel_workers_per_gather")) == "0"


def test_the_last_success_of_a_hook_that_only_fails_is_looked_for_among_successes(engine: Engine) -> None:
    found = read(engine, lambda session: last_outcomes(session, [HookId(FAILING)]))
    assert {"ix_attempts_hook_successes", "ix_attempts_hook_failures"} < set(found)
    listed = read(engine, lambda session: list_attempts(session, AttemptQuery(hook_id=HookId(FAILING))))
    assert listed == ["ix_attempts_hook_successes", "ix_attempts_hook_failures"]


def test_deleted_attempts_are_vacuumed_before_they_are_millions(engine: Engine) -> None:
    """Whoever looks for the oldest attempt passes those that were deleted and not vacuumed."""
    with engine.connect() as connection:
        options = connection.execute(text("SELECT reloptions FROM pg_class WHERE relname = 'attempts'")).scalar_one()
    assert options == ["autovacuum_vacuum_scale_factor=0.01"]
