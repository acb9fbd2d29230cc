"""The names of topics and consumer groups: the contract between every part that meets in Kafka."""

from __future__ import annotations

from dataclasses import dataclass

CLOCK_KEY = b"clock"
"""Key of the records in `control` that are no settings: tombstones, written to read the broker's time."""


@dataclass(frozen=True, slots=True)
class TopicNames:
    """Every topic and group name of one deployment; `prefix` sets deployments apart that share a cluster."""

    prefix: str = ""

    def events(self, namespace: str) -> str:
        """Domain events of one namespace."""
        return f"{self.prefix}events.{namespace}"

    @property
    def subscriptions(self) -> str:
        """The compacted table of hooks, one partition."""
        return f"{self.prefix}subscriptions"

    @property
    def deliveries(self) -> str:
        """One record per event and hook, keyed by client."""
        return f"{self.prefix}deliveries"

    @property
    def replays(self) -> str:
        """The same for replays, resends and pings; partition for partition beside `deliveries`."""
        return f"{self.prefix}deliveries.replay"

    @property
    def dead_letters(self) -> str:
        """What left the way, with its reason."""
        return f"{self.prefix}deliveries.dead"

    @property
    def attempts(self) -> str:
        """One record per HTTP request."""
        return f"{self.prefix}attempts"

    @property
    def hook_notices(self) -> str:
        """What workers report to the API's process about hooks."""
        return f"{self.prefix}hook-notices"

    @property
    def delivery_state(self) -> str:
        """What is pending in a partition below its committed offset, compacted."""
        return f"{self.prefix}delivery-state"

    @property
    def control(self) -> str:
        """Operators' settings for endpoints, compacted."""
        return f"{self.prefix}control"

    @property
    def internal(self) -> tuple[str, ...]:
        """Every topic that is not one of events."""
        return (
            self.subscriptions,
            self.deliveries,
            self.replays,
            self.dead_letters,
            self.attempts,
            self.hook_notices,
            self.delivery_state,
            self.control,
        )

    @property
    def router_group(self) -> str:
        """Consumer group of the routers."""
        return f"{self.prefix}hookstream.router"

    @property
    def deliver_group(self) -> str:
        """Consumer group of the delivery workers."""
        return f"{self.prefix}hookstream.deliver"

    @property
    def attempt_log_group(self) -> str:
        """Consumer group of the attempt log."""
        return f"{self.prefix}hookstream.attempt-log"

    @property
    def notices_group(self) -> str:
        """Consumer group of the API's processes, for the workers' notices."""
        return f"{self.prefix}hookstream.notices"

    def replay_group(self, name: str) -> str:
        """Consumer group in which one replay keeps how far it is; it has no members."""
        return f"{self.prefix}hookstream.{name}"
