"""The table of hooks, record by record."""

from __future__ import annotations

import gc
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookstream.processors.tables.subscription_table import Route, SubscriptionTable
from hookstream.schemas.event import ClientId, EventName
from hookstream.schemas.hook import RESYNC_MARK_KEY, Hook, HookId, HookState, ResyncMark, Revision

NEW = EventName("lead.new")


def hook(
    revision: int = 1, *, client: int = 434, event: str = NEW, state: HookState = HookState.ENABLED, hook_id: int = 7
) -> Hook:
    return Hook(
        id=HookId(hook_id),
        client=ClientId(str(client)),
        event=EventName(event),
        target="https://a.example/hook",
        state=state,
        revision=Revision(revision),
        secrets=(b"one", b"two"),
    )


def table_of(*rows: Hook | ResyncMark | None) -> SubscriptionTable:
    table = SubscriptionTable()
    for offset, row in enumerate(rows):
        table.apply(offset, row.key if isinstance(row, Hook) else hook().key, row)
    return table


hooks = st.builds(
    Hook,
    id=st.integers(0, 2**63 - 1).map(HookId),
    client=st.integers(0, 2**63 - 1).map(str).map(ClientId),
    event=st.sampled_from(["lead.new", "a.b", "x.y"]).map(EventName),
    target=st.text(max_size=2048),
    state=st.sampled_from(HookState),
    revision=st.integers(0, 2**63 - 1).map(Revision),
    secrets=st.lists(st.binary(max_size=200), max_size=4).map(tuple),
    not_before_ms=st.integers(0, 2**62),
    rate_limit_per_s=st.none() | st.floats(0, 1e9),
)


@given(st.lists(hooks, max_size=20))
def test_a_row_comes_back_as_it_went_in_and_the_highest_revision_stays(rows: list[Hook]) -> None:
    table = SubscriptionTable()
    latest: dict[tuple[str, str], Hook] = {}
    for offset, row in enumerate(rows):
        table.apply(offset, row.key, row)
        before = latest.get((row.client, row.event))
        if before is None or row.revision >= before.revision:
            latest[row.client, row.event] = row
    assert len(table) == len(latest)
    for (client, event), row in latest.items():
        assert table.get(client, event) == row
        assert table.get(client, event) == row  # from the rows lately asked for
        wanted = None if row.state is HookState.DELETED else Route(row.id, row.revision)
        assert table.route(client, event) == wanted


def test_what_was_never_read_is_absent() -> None:
    table = table_of(hook())
    assert table.get("434", "lead.updated") is None
    assert table.get("435", NEW) is None
    assert table.route("434", "no.such") is None
    assert table.route("435", NEW) is None


def test_a_lower_revision_is_ignored() -> None:
    table = table_of(hook(5), replace(hook(4), target="https://late.example/"))
    assert table.get("434", NEW) == hook(5)
    assert table.offset == 2


def test_a_disabled_hook_is_owed_and_a_deleted_one_is_not() -> None:
    assert table_of(hook(2, state=HookState.DISABLED)).route("434", NEW) == Route(HookId(7), Revision(2))
    assert table_of(hook(2, state=HookState.DELETED)).route("434", NEW) is None


def test_a_tombstone_removes_a_deleted_row_only() -> None:
    assert len(table_of(hook(2, state=HookState.DELETED), None)) == 0
    assert table_of(hook(2), None).get("434", NEW) == hook(2)


def test_a_tombstone_whose_key_is_no_text_is_of_no_client() -> None:
    table = SubscriptionTable()
    deleted = replace(hook(state=HookState.DELETED), client=ClientId("\ufffd"))
    table.apply(0, deleted.key, deleted)
    table.apply(1, b"\xff|lead.new", None)
    assert len(table) == 1


def test_a_tombstone_of_nothing_known_changes_nothing() -> None:
    table = table_of(hook())
    for offset, key in enumerate((None, b"", b"x|lead.new", b"999|lead.new", RESYNC_MARK_KEY, b"\xff"), 1):
        table.apply(offset, key, None)
    assert len(table) == 1
    assert table.offset == 7


def test_the_end_mark_of_a_resync_is_remembered() -> None:
    table = table_of(hook(), ResyncMark(topic_id="T1", written_at_ms=1))
    assert table.resynced_topic_id == "T1"
    assert len(table) == 1


def test_the_offset_is_the_next_one_to_read() -> None:
    table = SubscriptionTable()
    assert table.offset == 0
    table.apply(10, hook().key, hook())
    assert table.offset == 11
    table.advance(15)
    table.advance(3)
    assert table.offset == 15


def test_listeners_hear_what_changed_after_it_is_visible() -> None:
    table = SubscriptionTable()
    heard: list[tuple[Hook | None, Hook]] = []

    def listen(before: Hook | None, after: Hook) -> None:
        assert table.get(after.client, after.event) == after
        heard.append((before, after))

    table.apply(0, hook(1).key, hook(1))
    table.listen(listen)
    table.apply(1, hook(1).key, hook(1))  # the same again
    table.apply(2, hook(3).key, hook(3))
    table.apply(3, hook(2).key, hook(2))  # late
    other = hook(1, client=1)
    table.apply(4, other.key, other)
    assert heard == [(hook(1), hook(3)), (None, other)]


def test_an_unreadable_row_is_unknown_until_a_readable_one_of_its_key_arrives() -> None:
    table = table_of(hook(1))
    table.apply_unreadable(1, hook().key)
    assert table.unreadable == {hook().key: 1}
    assert table.offset == 2
    table.apply(2, b"1|lead.new", hook(1, client=1))
    assert table.unreadable
    table.apply(3, hook().key, hook(2))
    assert not table.unreadable


def test_a_changed_row_is_not_answered_from_memory() -> None:
    table = table_of(hook(1))
    assert table.get("434", NEW) == hook(1)
    table.apply(1, hook(2).key, hook(2))
    assert table.get("434", NEW) == hook(2)


def test_rows_asked_for_stay_right_when_there_are_many() -> None:
    table = table_of(*(hook(client=client) for client in range(5000)))
    for _ in range(2):
        for client in (0, 4999, *range(5000)):
            assert table.get(str(client), NEW) == hook(client=client)


@pytest.mark.parametrize("count", [20_000])
def test_rows_are_not_tracked_by_the_garbage_collector(count: int) -> None:
    gc.collect()
    before = len(gc.get_objects())
    table = table_of(*(hook(client=client) for client in range(count)))
    gc.collect()
    assert len(gc.get_objects()) - before < 100
    assert len(table) == count
