"""The relay of hooks on a real broker and PostgreSQL: whatever dies, stops or is restored, the newest row stands."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import create_engine, delete, insert, select, text, update

from hookstream.processors.topics import topic_ids
from hookstream.schemas.event import EventName
from hookstream.schemas.hook import RESYNC_MARK_KEY, Hook, HookState, ResyncMark
from hookstream.subscriptions.database import reading, transact
from hookstream.subscriptions.models import Base, CounterRow, SubscriptionRow
from hookstream.subscriptions.secrets import open_hook_secrets
from tests.support import subscription_relay
from tests.support.relay_topic import now_ms
from tests.support.subscription_relay import ROUNDS, Topic
from tests.support.subscriptions_api import BOX, Api, Caller
from tests.support.wait import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hookstream.processors.operations.relays.relay import Relay, Turn
    from hookstream.schemas.topics import TopicNames
    from tests.support.kafka_broker import Kafka
    from tests.support.processes import Process, Processes

KEY = b"434|lead.new"


@pytest.fixture
def api(database_url: str) -> Iterator[Api]:
    made = Api(database_url)
    made.clock.now_ms = now_ms()
    yield made
    made.close()


@pytest.fixture
def topic(kafka: Kafka, topics: TopicNames) -> Topic:
    return Topic.make(kafka.bootstrap_servers, topics)


@pytest.fixture
def relay(topic: Topic, api: Api) -> Iterator[Relay]:
    made = topic.relay(api.sessions)
    yield made
    made.close()


def child(processes: Processes, mode: str, topic: Topic, database_url: str) -> Process:
    """Start a relay in a process of its own."""
    program = ("-m", subscription_relay.__name__, mode)
    return processes.python(*program, topic.kafka.bootstrap_servers, topic.name, database_url, name=mode)


def caught_up(relay: Relay) -> Turn:
    """Run the relay until it has nothing to do."""

    def quiet() -> Turn:
        turn = relay.run_once()
        assert (turn.loading, turn.published, turn.corrected) == (False, 0, 0)
        return turn

    return eventually(quiet)


def created(caller: Caller, event: str = "lead.new") -> int:
    """Create a hook and give its id."""
    answer = caller.create(event=event)
    assert answer.status_code == 201, answer.text
    hook_id: int = answer.json()["hook"]["id"]
    return hook_id


def stored_row(api: Api, event: str = "lead.new") -> SubscriptionRow:
    """Read a subscription's row."""
    with reading(api.sessions) as session:
        return session.get_one(SubscriptionRow, (434, event))


def test_a_hook_is_published_as_it_was_registered(api: Api, topic: Topic, relay: Relay) -> None:
    caller = api.integrator(434)
    answer = caller.create().json()["hook"]
    caught_up(relay)
    ((offset, key, row),) = topic.records()
    assert key == KEY
    assert isinstance(row, Hook)
    assert (row.id, row.target, row.state, row.revision) == (answer["id"], answer["target"], HookState.ENABLED, 1)
    assert [secret.reveal() for secret in open_hook_secrets(BOX, row)] == [answer["secret"]]
    assert (stored_row(api).published_revision, stored_row(api).published_offset) == (1, offset)
    caller("DELETE", f"/hooks/{answer['id']}")
    caught_up(relay)
    last = topic.table()[KEY]
    assert isinstance(last, Hook)
    assert (last.state, last.revision, last.secrets) == (HookState.DELETED, 2, ())


@pytest.mark.parametrize(("mode", "written"), [("dies-before", 0), ("dies-after", 1)])
def test_kill_9_between_commit_and_publish_loses_nothing(
    api: Api, topic: Topic, processes: Processes, database_url: str, mode: str, written: int
) -> None:
    hook_id = created(api.integrator(434))
    killed = child(processes, mode, topic, database_url)
    assert killed.wait() == -9, killed.complaint("was not killed")
    assert len(topic.records()) == written
    assert stored_row(api).published_revision == 0
    successor = topic.relay(api.sessions)
    eventually(lambda: successor.run_once().published)
    successor.close()
    rows = [row for _, _, row in topic.records()]
    assert len(rows) == written + 1
    assert {(row.id, row.revision) for row in rows if isinstance(row, Hook)} == {(hook_id, 1)}
    assert stored_row(api).published_revision == 1


def test_racing_processes_end_with_the_newer_hook_in_database_and_topic(
    api: Api, topic: Topic, relay: Relay, processes: Processes, database_url: str
) -> None:
    racers = [child(processes, "races", topic, database_url) for _ in range(2)]
    assert [racer.wait(60) for racer in racers] == [0, 0], racers[0].log_tail() + racers[1].log_tail()
    caught_up(relay)
    stored, published = stored_row(api), topic.table()[KEY]
    assert isinstance(published, Hook)
    assert (published.id, published.revision, published.state) == (stored.hook_id, stored.revision, stored.state)
    with reading(api.sessions) as session:
        # In every round at least one of them makes a hook; where they keep in step, the other gets a 409 each time.
        assert session.get_one(CounterRow, "hook_id").value >= stored.hook_id >= ROUNDS
    revisions = [row.revision for _, _, row in topic.records() if isinstance(row, Hook)]
    assert revisions == sorted(revisions), "an older row was written behind a newer one"


def test_the_late_write_of_a_suspended_relay_is_put_right(
    api: Api, topic: Topic, relay: Relay, processes: Processes, database_url: str
) -> None:
    caller = api.integrator(434)
    hook_id = created(caller)
    suspended = child(processes, "suspended", topic, database_url)
    holder = text(
        "SELECT pid FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid() AND state = 'idle in transaction'"
    )
    with create_engine(database_url).connect().execution_options(isolation_level="AUTOCOMMIT") as admin:
        eventually(lambda: _is_stopped(suspended.pid))
        # The database lets go of the one that does not answer.
        admin.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": admin.execute(holder).scalar_one()})
        eventually(lambda: admin.execute(holder).first() is None)
    admin.engine.dispose()
    assert caller("DELETE", f"/hooks/{hook_id}").status_code == 204
    caught_up(relay)
    assert [_state(row) for _, _, row in topic.records()] == [(2, HookState.DELETED)]
    suspended.resume()
    assert suspended.wait() == -9, suspended.complaint("did not publish")
    eventually(lambda: relay.run_once().corrected)
    assert [_state(row) for _, _, row in topic.records()] == [
        (2, HookState.DELETED),
        (1, HookState.ENABLED),  # late
        (2, HookState.DELETED),
    ]
    assert stored_row(api).published_offset == 2
    assert caught_up(relay).corrected == 0


def test_a_tombstone_follows_a_deletion_after_40_days(api: Api, topic: Topic) -> None:
    caller = api.integrator(434)
    caller("DELETE", f"/hooks/{created(caller)}")
    kept = created(caller, "lead.status")
    _delete_days_ago(api, 39)
    relay = topic.relay(api.sessions, housekeeping_every_s=0.0)
    caught_up(relay)
    assert topic.table()[KEY] is not None
    _delete_days_ago(api, 41)
    assert eventually(lambda: relay.run_once().tombstoned) == 1
    assert caught_up(relay).tombstoned == 0
    assert topic.table()[KEY] is None
    assert topic.table()[b"434|lead.status"] is not None
    created(caller)
    caught_up(relay)
    reborn = topic.table()[KEY]
    assert isinstance(reborn, Hook)
    assert reborn.revision == 3
    assert reborn.id > kept
    relay.close()


# --- resync -----------------------------------------------------------------------------------------------------------


def test_a_resync_after_the_topic_was_lost_fills_a_new_one(
    kafka: Kafka, topics: TopicNames, api: Api, topic: Topic, relay: Relay
) -> None:
    caller = api.integrator(434)
    created(caller)
    caller("DELETE", f"/hooks/{created(caller, 'lead.status')}")
    caught_up(relay)
    lost = topic.table()
    new = Topic.make(kafka.bootstrap_servers, type(topics)(prefix=f"{topics.prefix}new."))
    report = new.resync(api.sessions)
    assert (report.lift.seen, report.published) == (0, 2)
    assert {key: row for key, row in new.table().items() if key != RESYNC_MARK_KEY} == lost
    offset, key, mark = new.records()[-1]
    assert key == RESYNC_MARK_KEY
    assert isinstance(mark, ResyncMark)
    assert offset == report.mark_offset
    assert mark.topic_id == topic_ids(new.kafka, [new.name])[new.name]
    assert stored_row(api).published_offset == 0


def test_a_resync_of_a_restored_database_takes_over_what_was_acknowledged_since(
    api: Api, topic: Topic, relay: Relay
) -> None:
    caller = api.integrator(434)
    kept, replaced, dropped = (created(caller, f"lead.{name}") for name in ("new", "assigned", "status"))
    caught_up(relay)
    backup = _backup(api)
    caller("DELETE", f"/hooks/{replaced}")
    replacement = created(caller, "lead.assigned")
    caller("DELETE", f"/hooks/{dropped}")
    added = created(caller, "lead.updated")
    caught_up(relay)
    before = {key: row for key, row in topic.table().items() if isinstance(row, Hook)}

    _restore(api, backup)
    fresh = topic.relay(api.sessions)
    eventually(lambda: fresh.run_once().blocked)
    assert fresh.run_once().published == 0
    report = topic.resync(api.sessions)

    assert (report.lift.taken_over, report.lift.closed) == (3, ())
    assert {hook["id"] for hook in caller("GET", "/hooks").json()["hooks"]} == {kept, replacement, added}
    after = {key: row for key, row in topic.table().items() if isinstance(row, Hook)}
    assert after.keys() == before.keys()
    for key, row in before.items():
        assert after[key].revision > row.revision
        assert _content(after[key]) == _content(row)
    assert topic.records()[-1][1] == RESYNC_MARK_KEY
    assert created(caller, "lead.deleted") > max(replacement, added)
    eventually(lambda: fresh.run_once().published)
    assert fresh.run_once().blocked is None
    fresh.close()


def test_what_was_written_since_a_restore_stays(api: Api, topic: Topic, relay: Relay) -> None:
    """A hook made in the restored database keeps its id; the hook of the topic that had it is closed and named."""
    caller = api.integrator(434)
    created(caller)
    caught_up(relay)
    backup = _backup(api)
    lost = created(caller, "lead.status")
    caught_up(relay)
    _restore(api, backup)
    made_since = created(caller, "lead.assigned")
    assert made_since == lost, "the restored database gives the id again"
    report = topic.resync(api.sessions)
    assert report.lift.closed == (("434", "lead.status"),)
    table = topic.table()
    assert _state(table[b"434|lead.assigned"]) == (1, HookState.ENABLED)
    closed = table[b"434|lead.status"]
    assert isinstance(closed, Hook)
    assert (closed.state, closed.secrets, closed.id > lost) == (HookState.DELETED, (), True)


def test_a_resync_can_be_repeated(api: Api, topic: Topic, relay: Relay) -> None:
    created(api.integrator(434))
    caught_up(relay)
    for revision in (2, 3):
        report = topic.resync(api.sessions)
        assert (report.lift.lifted, report.lift.taken_over, report.published) == (1, 0, 1)
        assert _state(topic.table()[KEY]) == (revision, HookState.ENABLED)
    assert caught_up(relay).corrected == 0
    assert _state(topic.table()[KEY]) == (3, HookState.ENABLED)


def _state(row: object) -> tuple[int, HookState]:
    assert isinstance(row, Hook)
    return row.revision, row.state


def _content(row: Hook) -> tuple[object, ...]:
    return row.id, row.client, EventName(row.event), row.target, row.state, row.secrets


def _delete_days_ago(api: Api, days: int) -> None:
    """Make every row as old as that, by the clock of the relay."""
    written = now_ms() - days * 24 * 3600 * 1000
    transact(api.sessions, lambda session: session.execute(update(SubscriptionRow).values(updated_at_ms=written)))


def _backup(api: Api) -> dict[str, list[dict[str, object]]]:
    with reading(api.sessions) as session:
        return {
            name: [dict(row._mapping) for row in session.execute(select(Base.metadata.tables[name]))]
            for name in ("subscription_keys", "counters")
        }


def _restore(api: Api, backup: dict[str, list[dict[str, object]]]) -> None:
    with api.sessions.begin() as session:
        for name, rows in backup.items():
            session.execute(delete(Base.metadata.tables[name]))
            session.execute(insert(Base.metadata.tables[name]), rows)


def _is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
