"""The numbers the engine decides by, in one value, so that a simulation can shrink them and a deployment tune a few."""

from __future__ import annotations

from dataclasses import dataclass

MINUTE_S = 60.0
HOUR_S = 60 * MINUTE_S
DAY_S = 24 * HOUR_S

# Standard Webhooks' example schedule with earlier steps: a lane waits for its head, and many receivers fail one request
# in ten. 3 days and 3.6 hours from the first attempt to the dead letter.
#
#   attempt     2    3     4       5       6        7        8        9     10    11     12     13
#   at        1 s  6 s  36 s  2.6 min  7.6 min  37.6 min  2.6 h  7.6 h  17.6 h  31.6 h  51.6 h  75.6 h
FULL_SCHEDULE_S = (
    1.0,
    5.0,
    30.0,
    2 * MINUTE_S,
    5 * MINUTE_S,
    30 * MINUTE_S,
    2 * HOUR_S,
    5 * HOUR_S,
    10 * HOUR_S,
    14 * HOUR_S,
    20 * HOUR_S,
    24 * HOUR_S,
)
# For rejections while the endpoint's other resources succeed: 35 minutes in all.
SHORT_SCHEDULE_S = (5.0, 5 * MINUTE_S, 30 * MINUTE_S)


# The most offsets between a commit and the reading position that the commit's metadata has room for.
LONGEST_WINDOW = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class EnginePolicy:
    """What the engine of one partition decides by. Durations in seconds, sizes in records or bytes."""

    # The window: what lies between the committed offset and the position of the live reading.
    window_records: int = LONGEST_WINDOW
    window_bytes: int = 16 * 1024 * 1024
    # Live reading of a healthy log goes no further ahead than this, a little more than two clients may have in flight:
    # every record read ahead is a wait for the next client. A window whose oldest record is younger than
    # `fresh_window_s` is flowing, not stuck, so reading waits for it instead of opening cursors.
    read_ahead_records: int = 300
    fresh_window_s: float = 0.25

    # An endpoint that holds this share of the window, with its oldest record older than `lagging_s`, is lagging.
    lagging_share: float = 0.25
    lagging_s: float = 1.0
    # One that holds more than this of a full window, with its oldest record never tried, is slow as a whole.
    slow_records: int = 8

    # A retry that is due within this time waits in the window; for a later one the lane gets a cursor.
    retry_in_window_s: float = 30.0
    # One that is due within this time waits in the buffer of its hook's cursor; for a later one the lane gets its own.
    retry_in_buffer_s: float = 10.0
    # A record newer than the table waits this long in the window before its hook gets a cursor.
    stale_wait_s: float = 5.0

    buffer_records: int = 256  # of a hook's cursor
    buffer_bytes: int = 512 * 1024  # about as much of bodies in the buffer of a cursor
    resource_buffer_records: int = 16  # of a resource's cursor
    max_resource_cursors: int = 256  # on one endpoint
    rejoin_every_s: float = 0.01  # how often it is looked whether untouched cursors can rejoin
    # Kept of the live reading while cursors catch up, so that they can rejoin it: so many, and so much of bodies.
    tail_records: int = 1_024
    tail_bytes: int = 2 * 1024 * 1024
    probe_candidates: int = 64  # heads of distinct lanes read at a time
    probe_resources: int = 10_000  # remembered in one walk, then it starts again

    # The breaker opens when nothing but failure came on at least two resources (or on the only one) for so long, which
    # takes two attempts, or in so many attempts in a row. A receiver that fails one request in two at random gives
    # twenty in a row once in 2 million requests, one that fails one in ten never; of one that is down at 500/s they
    # take some 100 ms.
    breaker_after_s: float = 1.0
    breaker_in_a_row: int = 20
    # The first probe comes after 100 ms, doubling to 5 s, so that a short outage ends soon. Then every 5 s
    # for the rest of two minutes, then doubling to 5 min.
    #
    #   probe    1    2    3    4    5    6     7 …   29     30     31     32 …
    #   at (s)  0.1  0.3  0.7  1.5  3.1  6.3  11.3 … 121.3  131.3  151.3  191.3 …
    probe_first_s: float = 0.1
    probe_steady_s: float = 5.0
    probe_steady_probes: int = 23
    probe_max_s: float = 5 * MINUTE_S
    jitter: float = 0.2

    full_schedule_s: tuple[float, ...] = FULL_SCHEDULE_S
    short_schedule_s: tuple[float, ...] = SHORT_SCHEDULE_S

    busy_first_s: float = 1.0
    busy_max_s: float = 5 * MINUTE_S
    retry_after_max_s: float = HOUR_S

    concurrency_start: int = 8
    concurrency_max: int = 64
    concurrency_fast_s: float = 1.0
    concurrency_slow: int = 8  # slower answers lower it down to this
    client_in_flight: int = 128
    process_in_flight: int = 4_096

    expire_after_s: float = 6 * DAY_S
    disable_after_s: float = 5 * DAY_S
    notice_every_s: float = MINUTE_S

    # When clients are told: of a quarantine that has lasted so long, of dead letters of an endpoint at most so often,
    # and so long before the oldest pending delivery expires, but not before half of its time.
    quarantine_told_after_s: float = 10 * MINUTE_S
    dead_letters_told_every_s: float = MINUTE_S
    expiring_told_before_s: float = DAY_S

    def __post_init__(self) -> None:
        """Refuse numbers with which the engine could not keep its promises."""
        if not 0 < self.read_ahead_records <= self.window_records:
            message = "read_ahead_records must lie between 1 and window_records"
            raise ValueError(message)
        if self.buffer_records >= self.window_records:
            message = "a cursor's buffer must fit into the window, or hand-over never happens"
            raise ValueError(message)
        if not 0 < self.probe_first_s <= self.probe_steady_s <= self.probe_max_s:
            message = "probe_first_s must be above 0, probe_steady_s not below it, and probe_max_s not below that"
            raise ValueError(message)
