"""A look at what is owed: what there was no room for is an estimate, and ends are read before commits."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest

from hookstream.processors.kafka import KafkaConfig
from hookstream.processors.operations.log_ranges import Scanned
from hookstream.processors.operations.queries import backlog
from hookstream.processors.operations.queries.backlog import KafkaBacklogs, LookLimits
from hookstream.schemas.event import ClientId
from hookstream.schemas.hook import HookId
from hookstream.schemas.topics import TopicNames
from tests.support.scripted_consumer import record
from tests.support.values import DELIVERY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from confluent_kafka import Message

    from hookstream.schemas.delivery import Delivery

TOPICS = TopicNames()
HOOK = HookId(7)


@dataclass
class Log:
    """`deliveries` with one partition, of which nothing is committed; in place of every consumer of a look."""

    records: int
    asked: list[str] = field(default_factory=list)

    @property
    def scanner(self) -> Log:
        """The one that scans."""
        return self

    @property
    def states(self) -> Log:
        """The one that looks for states."""
        return self

    def partitions(self, _topic: str, _deadline: object) -> range:
        """Number partitions."""
        return range(1)

    def watermarks(self, topic: str, _partition: int, _deadline: object) -> tuple[int, int]:
        """Tell the ends."""
        self.asked.append("end")
        return 0, self.records if topic == TOPICS.deliveries else 0

    def committed(self, keys: Iterable[tuple[str, int]], _deadline: object) -> dict[tuple[str, int], tuple[int, None]]:
        """Tell what is committed."""
        self.asked.append("commits")
        return dict.fromkeys(keys, (-1001, None))

    def any_state(self, _topic: str, _partition: int, *, deadline: object) -> bool:
        """Find no state."""
        del deadline
        return False

    def scan(
        self,
        wanted: Mapping[tuple[str, int], tuple[int, int]],
        take: Callable[[tuple[str, int], Message], bool],
        *,
        deadline: object,
    ) -> Scanned:
        """Give records until one is not taken."""
        del deadline
        reached = {}
        for key, (start, end) in wanted.items():
            offset = start
            while offset < end and take(key, record(b"%d" % offset, topic=key[0], offset=offset, key=b"9999")):
                offset += 1
            reached[key] = offset
        return Scanned(reached, {}, [])

    def close(self) -> None:
        """Nothing to close."""


def _decode(value: bytes | None) -> Delivery:
    live = replace(DELIVERY, replay=None, live_end=0, replayed_at_ms=0)
    return replace(live, hook_id=HOOK, concept_id=(value or b"0").decode())


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    """A log of a hundred deliveries of one hook."""
    made = Log(100)
    monkeypatch.setattr(backlog, "_Clients", lambda _kafka, _topics: made)
    return made


def looked(limits: LookLimits) -> tuple[int, bool]:
    """How many deliveries the hook is said to be owed, and whether that is exact."""
    backlogs = KafkaBacklogs(
        KafkaConfig(bootstrap_servers="k:9092", embedded=True), TOPICS, decode=_decode, limits=limits
    )
    hook = backlogs.read(ClientId("9999"), lambda _clients: {}).hooks[HOOK]
    return hook.pending, hook.exact


@pytest.mark.usefixtures("log")
def test_what_there_was_no_room_for_is_estimated_and_said_to_be() -> None:
    assert looked(LookLimits(kept_records=1000)) == (100, True)
    assert looked(LookLimits(kept_records=10)) == (100, False)


def test_ends_are_read_before_commits_so_that_what_is_settled_by_then_is_seen_as_settled(log: Log) -> None:
    looked(LookLimits())
    assert log.asked == ["end", "end", "commits"]
