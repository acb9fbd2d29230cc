"""The relays of the API: what is written to the database goes to Kafka, and workers' notices come from it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field

from hookstream.processors.cli.deps import Deps
from hookstream.processors.operations.group_reader import GroupReader
from hookstream.processors.operations.relays.endpoint_settings import EndpointSettingsStep
from hookstream.processors.operations.relays.endpoint_settings_writer import EndpointSettingsWriter
from hookstream.processors.operations.relays.hook_events import NoticeRelay, NoticeWriter
from hookstream.processors.operations.relays.notices import HookNotices
from hookstream.processors.operations.relays.relay import Relay
from hookstream.processors.operations.relays.subscription_writer import SubscriptionWriter
from hookstream.processors.operations.relays.subscriptions import SubscriptionsStep
from hookstream.processors.wall_clock import now_ms
from hookstream.schemas.codecs.endpoint_settings import endpoint_settings_encoder
from hookstream.schemas.codecs.events import event_encoder
from hookstream.schemas.codecs.hooks import notice_decoder
from hookstream.schemas.event_schema import NOTICES
from hookstream.subscriptions.api import ReadinessCheck
from hookstream.subscriptions.database import Sessions

from .process import Running, ThreadGroup
from .topic_codecs import row_encoder, settings_readers, table_readers, value_encoder

# Operators set few things, and this process wakes its own relay.
_SETTINGS_POLL_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiRelays:
    """One relay for each kind of row, and what reads the workers' notices."""

    hooks: Relay
    settings: Relay
    notices: NoticeRelay
    reader: GroupReader
    hooks_changed: Callable[[], None]
    """Rows of hooks were written, perhaps with notices of theirs: wakes the relays of both."""
    _end: threading.Event = field(default_factory=threading.Event)

    @property
    def checks(self) -> Mapping[str, ReadinessCheck]:
        """What each says of itself, by the name that `/readyz` gives it."""
        return {
            "subscriptions topic": self.hooks.trouble,
            "control topic": self.settings.trouble,
            "notices": self.notices.trouble,
        }

    def start(self, threads: ThreadGroup, running: Running) -> None:
        """Run each in a thread."""
        threads.start("hook notices", lambda: self.reader.run(running.stop))
        threads.start("change relay", lambda: self.hooks.run(self._end))
        threads.start("settings relay", lambda: self.settings.run(self._end))
        threads.start("notice relay", lambda: self.notices.run(self._end))

    def stop(self) -> None:
        """Ask the relays to end, after the server has: what its last requests wrote is still published."""
        self._end.set()
        self.hooks_changed()
        self.settings.wake()


def open_relays(deps: Deps, sessions: Sessions, running: Running, stack: ExitStack) -> ApiRelays:
    """Make them; `stack` closes their writers.

    Raises:
        KafkaRefusedError: a configuration that librdkafka refuses.
    """
    topics, catalogue = deps.topics, deps.catalogue
    rows = stack.enter_context(SubscriptionWriter(deps.kafka, topics.subscriptions, encode=row_encoder(deps)))
    settings = stack.enter_context(
        EndpointSettingsWriter(
            deps.kafka, topics.control, encode=value_encoder(deps, topics.control, endpoint_settings_encoder)
        )
    )
    told = stack.enter_context(
        NoticeWriter(
            deps.kafka,
            topics.events(NOTICES),
            encode=value_encoder(
                deps, topics.events(NOTICES), lambda schema_id: event_encoder(catalogue, NOTICES, schema_id)
            ),
            told=running.metrics.notice_told,
        )
    )
    hook_relay = Relay(
        SubscriptionsStep(sessions, rows, table_readers(deps), now_ms=now_ms, audit_days=deps.settings.audit_days)
    )
    notice_relay = NoticeRelay(sessions, told)

    def hooks_changed() -> None:
        hook_relay.wake()
        notice_relay.wake()

    return ApiRelays(
        hooks=hook_relay,
        settings=Relay(
            EndpointSettingsStep(sessions, settings, settings_readers(deps), now_ms=now_ms),
            poll_interval_s=_SETTINGS_POLL_S,
        ),
        notices=notice_relay,
        reader=GroupReader(
            deps.kafka,
            HookNotices(
                sessions,
                topics,
                decode=notice_decoder(deps.registry.schema_text_by_id),
                now_ms=now_ms,
                changed=hooks_changed,
            ),
        ),
        hooks_changed=hooks_changed,
    )
