"""The thread that polls Kafka: it makes a member of the workers' group, and ends with it."""

from __future__ import annotations

import threading
from contextlib import closing

from hookstream.processors.delivery.checkpoints.partition_lookup import PartitionLookup
from hookstream.processors.delivery.checkpoints.state_store import StateReader
from hookstream.processors.lifecycle import StopSignal

from .group_member import GroupMember
from .group_rebalance import Loop, PollConfig
from .inbox import Inboxes
from .poll_requests import PollRequests


class PollThread:
    """Any thread may use it; what the loop asks of it goes through `requests`."""

    def __init__(self, config: PollConfig, loop: Loop, stop: StopSignal, requests: PollRequests) -> None:
        """Prepare; `start` joins the group."""
        self.inboxes = Inboxes()
        """Of the partitions that are owned; belongs to the thread."""
        self._config = config
        self._loop = loop
        self._stop = stop
        self._requests = requests
        self._thread = threading.Thread(target=self._run, name="poll", daemon=True)

    def start(self) -> None:
        """Join the group."""
        self._thread.start()

    def join(self, timeout_s: float) -> bool:
        """Wait for the end; says whether it came."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        config = self._config
        try:
            with closing(StateReader(config.kafka, config.state_topic)) as states:
                lookup = PartitionLookup(config.topics, config.identities, states)
                member = GroupMember(
                    config, self._loop, self._stop, requests=self._requests, lookup=lookup, inboxes=self.inboxes
                )
                with closing(member):
                    member.poll()
        except Exception as exc:  # noqa: BLE001 - whatever it is, the process has to end
            self._loop.failed(exc)
