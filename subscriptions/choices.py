"""Words that callers choose from, for the API and the command line: no database, no framework."""

from __future__ import annotations

from enum import StrEnum


class EndpointState(StrEnum):
    """How an endpoint is doing."""

    HEALTHY = "healthy"
    LAGGING = "lagging"  # has something old pending: slow, rate-limited, asked for silence, or a resource keeps failing
    QUARANTINED = "quarantined"  # fails; only probes are sent
    CATCHING_UP = "catching-up"  # served from its backlog
    DISABLED = "disabled"  # all of its hooks are
    PAUSED = "paused"  # an operator set it


class EndpointSort(StrEnum):
    """Which endpoints come first."""

    OLDEST = "oldest"  # whose oldest pending delivery is the oldest
    BEHIND = "behind"  # whose backlog is the largest


class ReplaySource(StrEnum):
    """Which log is read."""

    EVENTS = "events"  # routed again, with the hooks of today
    DELIVERIES = "deliveries"  # what was routed then


class ReplayOnly(StrEnum):
    """Which of the deliveries in the window are sent again, judged by the attempt log."""

    ALL = "all"
    UNDELIVERED = "undelivered"  # never answered 2xx
    FAILED = "failed"  # attempted, and never answered 2xx
