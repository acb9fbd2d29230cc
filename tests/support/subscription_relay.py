"""The relay of hooks with real parts, in this process or, hurt in a chosen way, in one of its own.

As a program: `python -m tests.support.subscription_relay MODE BOOTSTRAP TOPIC DATABASE_URL`, where MODE is one of
`MODES`.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hookstream.processors.kafka import KafkaConfig
from hookstream.processors.operations.relays.relay import Relay
from hookstream.processors.operations.relays.resync import ResyncReport, resync
from hookstream.processors.operations.relays.subscription_writer import SubscriptionWriter
from hookstream.processors.operations.relays.subscriptions import SubscriptionsStep
from hookstream.processors.tables.subscription_reader import SubscriptionReader
from hookstream.schemas.catalogue import InternalSchema
from hookstream.schemas.codecs.hooks import subscription_decoder, subscription_encoder
from hookstream.schemas.hook import Hook, ResyncMark
from hookstream.subscriptions.database import Sessions, open_database, open_sessions
from tests.support.relay_topic import KilledAfter, KilledBefore, make_topic, now_ms, read_to_end
from tests.support.subscriptions_api import Api

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hookstream.processors.tables.subscription_reader import TableBatch
    from hookstream.schemas.topics import TopicNames

SCHEMA_ID = 1
ENCODE = subscription_encoder(SCHEMA_ID)
DECODE = subscription_decoder(lambda _: InternalSchema.SUBSCRIPTION.text)


Record = tuple[int, bytes | None, Hook | ResyncMark | None]


@dataclass
class Topic:
    """The `subscriptions` topic of a test."""

    kafka: KafkaConfig
    name: str

    @classmethod
    def make(cls, bootstrap_servers: str, names: TopicNames) -> Topic:
        """Make the topic as a deployment does."""
        return cls(make_topic(bootstrap_servers, names, names.subscriptions), names.subscriptions)

    def writer(self) -> SubscriptionWriter:
        """Write to it as the relay does."""
        return SubscriptionWriter(self.kafka, self.name, encode=ENCODE)

    def reader(self, deliver: Callable[[TableBatch], None]) -> SubscriptionReader:
        """Read it as the relay does."""
        return SubscriptionReader(self.kafka, self.name, decode=DECODE, deliver=deliver)

    def records(self) -> list[Record]:
        """Everything that is in it now."""
        found: list[Record] = []
        read_to_end(self.reader(lambda batch: found.extend(each[1:] for each in batch.records)))  # type: ignore[misc]  # all are readable
        return found

    def table(self) -> dict[bytes | None, Hook | ResyncMark | None]:
        """What compaction would leave."""
        return {key: row for _, key, row in self.records()}

    def relay(
        self, sessions: Sessions, writer: SubscriptionWriter | None = None, *, housekeeping_every_s: float = 60.0
    ) -> Relay:
        """Make a relay to it."""
        step = SubscriptionsStep(
            sessions,
            writer or self.writer(),
            self.reader,
            now_ms=now_ms,
            housekeeping_every_s=housekeeping_every_s,
        )
        return Relay(step, poll_interval_s=0.01, retry_after_s=0.05)

    def resync(self, sessions: Sessions) -> ResyncReport:
        """Resync as the command does."""
        with self.writer() as writer:
            return resync(sessions, writer, self.reader, actor="test", now_ms=now_ms)


class KilledBeforeWriter(KilledBefore, SubscriptionWriter):
    """Killed before it publishes."""


class KilledAfterWriter(KilledAfter, SubscriptionWriter):
    """Killed after it has published."""


class SuspendedWriter(KilledAfterWriter):
    """Suspended while it holds the row's lock, until the test resumes the process; it dies once it has published."""

    def publish(self, hooks: Sequence[Hook]) -> Sequence[int]:
        """Stop, later publish and die."""
        os.kill(os.getpid(), signal.SIGSTOP)
        return super().publish(hooks)


MODES = {
    "dies-before": KilledBeforeWriter,
    "dies-after": KilledAfterWriter,
    "suspended": SuspendedWriter,
    "races": SubscriptionWriter,
}
ROUNDS = 25


def _races(topic: Topic, database_url: str) -> None:
    """An API process with its relay: deletes and re-creates one client's hook, round after round."""
    api = Api(database_url)
    caller = api.integrator(434)
    stop = threading.Event()
    relay = threading.Thread(target=topic.relay(api.sessions).run, args=(stop,))
    with ExitStack() as stack:
        relay.start()
        stack.callback(relay.join)
        stack.callback(stop.set)
        for _ in range(ROUNDS):
            for hook in caller("GET", "/hooks").json()["hooks"]:
                assert caller("DELETE", f"/hooks/{hook['id']}").status_code in (204, 404)
            assert caller.create().status_code in (201, 409)


def main(mode: str, bootstrap_servers: str, topic_name: str, database_url: str) -> None:
    """Run one relay, hurt as `mode` says."""
    topic = Topic(KafkaConfig(bootstrap_servers=bootstrap_servers), topic_name)
    if mode == "races":
        _races(topic, database_url)
        return
    sessions = open_sessions(open_database(database_url))
    writer = MODES[mode](topic.kafka, topic.name, encode=ENCODE)
    topic.relay(sessions, writer).run(threading.Event())


if __name__ == "__main__":
    main(*sys.argv[1:])
