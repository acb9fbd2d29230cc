"""How many files this process may have open, and what has to fit among them: sockets count.

Many systems allow a process 1,024 until it asks for more. A role asks for all it may have when it starts.
"""

from __future__ import annotations

import resource

import structlog

# Kafka's connections (a dozen brokers, some ten clients), look-ups of names, health and log files.
RESERVED = 256

log = structlog.get_logger("hookstream.process")


def raise_limit() -> int:
    """Raise the soft limit to the hard one, and return what holds now; the system's own ceiling may be lower."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError) as exc:
            log.warning("the limit of open files cannot be raised", limit=soft, hard_limit=hard, reason=str(exc))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def connections_that_fit(limit: int, *, in_flight: int, idle: int) -> tuple[int, int]:
    """How many requests in flight and idle connections fit under a limit of open files, at most what is asked for.

    What is kept idle only saves time, so it gives way first, down to a fifth of what there is. Never less than one.
    """
    room = limit - min(RESERVED, limit // 2)
    if limit == resource.RLIM_INFINITY or in_flight + idle <= room:
        return in_flight, idle
    fewer_idle = min(idle, max(room - in_flight, room // 5, 1))
    return min(in_flight, max(1, room - fewer_idle)), fewer_idle
