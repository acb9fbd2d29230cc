"""The newest settings of an endpoint count, whatever a suspended relay writes late."""

from __future__ import annotations

from dataclasses import replace

from hookstream.processors.tables.compacted_topic_reader import UNREADABLE, TopicBatch, TopicRecord, Unreadable
from hookstream.processors.tables.endpoint_settings import EndpointSettingsTable
from hookstream.schemas.control import EndpointSettings
from tests.support.values import SETTINGS


def applied(table: EndpointSettingsTable, *rows: EndpointSettings | Unreadable | None) -> list[EndpointSettings]:
    records = [TopicRecord(0, offset, b"k", row) for offset, row in enumerate(rows)]
    return table.apply(TopicBatch(records, {0: len(records)}))


def test_the_highest_revision_counts_in_whatever_order_records_come() -> None:
    table = EndpointSettingsTable()
    old, new = replace(SETTINGS, revision=4, paused=True), replace(SETTINGS, revision=5, paused=False)
    assert applied(table, old, new) == [new]
    assert applied(table, old, new) == [], "written late, and read twice"
    assert table.get(SETTINGS.client, SETTINGS.target_digest) == new
    assert applied(table, replace(new, revision=6)) != []


def test_a_tombstone_and_what_cannot_be_read_leave_the_settings_in_force() -> None:
    table = EndpointSettingsTable()
    applied(table, SETTINGS)
    assert applied(table, None, UNREADABLE) == []
    assert table.get(SETTINGS.client, SETTINGS.target_digest) == SETTINGS
    assert table.next_offsets == {0: 2}
