"""Resources whose events come from two partitions."""

from __future__ import annotations

from hookstream.processors.routing.resource_partitions import ResourcePartitions


def test_a_resource_moves_where_its_last_event_was_in_another_partition() -> None:
    known = ResourcePartitions()
    assert [known.moved("a", partition) for partition in (0, 0, 1, 1, 0)] == [False, False, True, False, True]
    assert not known.moved("b", 1)


def test_the_resource_that_was_not_seen_for_longest_is_forgotten() -> None:
    known = ResourcePartitions(kept=2)
    assert not any(known.moved(resource, 0) for resource in "abac")
    assert len(known._partition_of) == 2
    assert not known.moved("b", 1), "forgotten"
    assert known.moved("c", 1)
