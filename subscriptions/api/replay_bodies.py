"""The JSON of replays, in requests and answers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .bodies import Answer, AnyId, ClientIdOf, EventText, Request, ShownClientId, ShownId

_YEAR_10000_MS = 253_402_300_800_000
_MAX_NAMESPACE_CHARS = 250

UnixMs = Annotated[int, Field(strict=True, ge=0, lt=_YEAR_10000_MS, examples=[1_790_000_000_000])]
Rate = Annotated[float, Field(ge=0.01, le=100_000, allow_inf_nan=False)]
State = Literal["counting", "planned", "running", "paused", "done", "cancelled", "failed"]


class NewReplayFields(Request):
    """Which part of the log is sent again, and how. What is null is not looked at.

    Times are those of arrival in Kafka. `source`: `events` are routed again, with the hooks of today; `deliveries` are
    what was routed then. `only`: judged by the attempt log. Rates are deliveries a second, in total and for each
    endpoint.
    """

    from_ms: UnixMs
    to_ms: Annotated[UnixMs | None, Field(description="not in the window; null is now")] = None
    client: Annotated[ClientIdOf | None, Field(description="operators only; else the token's")] = None
    hook_id: Annotated[int, Field(strict=True, ge=1, le=2**63 - 1)] | None = None
    event: EventText | None = None
    namespace: Annotated[str, Field(min_length=1, max_length=_MAX_NAMESPACE_CHARS, examples=["lead"])] | None = None
    concept_id: Annotated[AnyId | None, Field(description="one resource; needs its namespace, or event")] = None
    source: Literal["events", "deliveries"] = "events"
    only: Literal["all", "undelivered", "failed"] = "all"
    rate_per_second: Rate = 1000.0
    rate_per_second_per_endpoint: Rate = 100.0


class NewReplayBody(Request):
    """`POST /replays`."""

    replay: NewReplayFields


class ReplayChangeFields(Request):
    """Whether it shall send, or pause."""

    state: Literal["running", "paused"]


class ReplayChangeBody(Request):
    """`PATCH /replays/{id}`."""

    replay: ReplayChangeFields


class WindowFields(Answer):
    """The window as it was found. `left_from_ms`: retention has cut it, and it is whole from then on only."""

    records: int
    left_from_ms: int | None


class HookCountFields(Answer):
    """How many deliveries a hook would get. In lists of replays, and of hooks that are gone, the id alone is told."""

    id: int
    deliveries: int
    client: ShownId | None
    event: str | None
    target: str | None


class CountFields(Answer):
    """What the dry run found. `hooks`: the thousand with the most deliveries. `estimate_s`: what the rates allow."""

    deliveries: int
    estimate_s: float
    hook_count: int
    hooks: list[HookCountFields]


class ProgressFields(Answer):
    """How far it is: records read, deliveries sent; records that retention took first, and that could not be read."""

    scanned: int
    sent: int
    expired: int
    unreadable: int


class ReplayFields(Answer):
    """A replay. `job` is what its deliveries carry as `hookstream-replay`. `worked_on`: a replayer has it now."""

    id: int
    job: str
    state: State
    reason: str | None = Field(description="why it failed")
    worked_on: bool
    client: ShownClientId | None
    hook_id: int | None
    event: str | None
    namespace: str | None
    concept_id: ShownId | None
    from_ms: int
    to_ms: int
    source: Literal["events", "deliveries"]
    only: Literal["all", "undelivered", "failed"]
    rate_per_second: float
    rate_per_second_per_endpoint: float
    window: WindowFields | None
    count: CountFields | None
    progress: ProgressFields
    created_by: str | None = Field(description="shown to operators")
    created_at_ms: int
    started_at_ms: int | None
    ended_at_ms: int | None
    updated_at_ms: int


class ReplayAnswer(Answer):
    """One replay."""

    replay: ReplayFields


class ReplaysAnswer(Answer):
    """`GET /replays`: a page, the newest first; `next_cursor` is null on the last one."""

    replays: list[ReplayFields]
    next_cursor: str | None
