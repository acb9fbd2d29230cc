"""The JSON of requests and answers, in the order of its keys."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from math import isfinite
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, WithJsonSchema
from pydantic_core import PydanticCustomError

from hookstream.schemas.attempt import AttemptResult
from hookstream.schemas.bounded import MAX_LONG
from hookstream.schemas.hook import HIGHEST_RATE_PER_S, LOWEST_RATE_PER_S
from hookstream.schemas.ids import MAX_ID_CHARS, WHAT_A_TEXT_IS, WHAT_AN_INTEGER_IS, IdKind
from hookstream.subscriptions.choices import EndpointState

_MAX_EVENT_CHARS = 250  # a topic name has at most 249
_MAX_SUB_NAMESPACE_CHARS = 255
# The whole body is a few hundred kilobytes then, and its receipts arrive within one time-out.
MAX_EVENTS = 1000
# An event has five; a few more may be misspelt.
_MAX_KEYS = 16

WholeNumber = Annotated[int, Field(strict=True, ge=0, le=MAX_LONG)]
TargetText = Annotated[str, Field(min_length=1, max_length=2048, examples=["https://example.com/create-lead"])]
# From one in a quarter of an hour to more than one endpoint takes.
RatePerSecond = Annotated[
    float, Field(strict=True, ge=LOWEST_RATE_PER_S, le=HIGHEST_RATE_PER_S, allow_inf_nan=False, examples=[10])
]
EventText = Annotated[str, Field(min_length=1, max_length=_MAX_EVENT_CHARS, examples=["lead.new"])]
ShownId = Annotated[int | str, Field(description="an integer, or a string where such ids are strings")]

ID_SCHEMAS: Final[Mapping[IdKind, dict[str, Any]]] = {
    IdKind.INTEGER: {"type": "integer", "minimum": 0, "maximum": MAX_LONG},
    IdKind.STRING: {"type": "string", "minLength": 1, "maxLength": MAX_ID_CHARS},
}
ID_MARK: Final = "x-hookstream-id"
"""Stands in the schema of an id whose kind the deployment says; its document has that kind's schema instead."""


class MarkedId(StrEnum):
    """Whose kind the deployment says: its clients', or what its envelopes declare of the events that it takes."""

    CLIENT = "client"
    EVENT_CLIENT = "event-client"
    EVENT_CONCEPT = "event-concept"


def id_schema(mark: MarkedId) -> WithJsonSchema:
    """The schema of an id until the document of a deployment says its kind."""
    return WithJsonSchema({"anyOf": list(ID_SCHEMAS.values()), ID_MARK: mark.value})


ShownClientId = Annotated[int | str, id_schema(MarkedId.CLIENT)]


def _id(value: Any) -> Any:  # noqa: ANN401  # whatever was sent
    """Take what can be an id of either kind.

    Raises:
        PydanticCustomError: it can be none.
    """
    if not any(kind.takes(value) for kind in IdKind):
        raise PydanticCustomError(
            "id", "Wants {integer}, or {text}", {"integer": WHAT_AN_INTEGER_IS, "text": WHAT_A_TEXT_IS}
        )
    return value


AnyId = Annotated[Any, AfterValidator(_id), WithJsonSchema({"anyOf": list(ID_SCHEMAS.values())})]
"""An id of a client or a resource; of which kind it has to be, its namespace or the deployment says."""


ClientIdOf = Annotated[Any, AfterValidator(_id), id_schema(MarkedId.CLIENT)]
"""A client of the deployment, in a request."""


class Request(BaseModel):
    """A body that holds what it is said to hold, and nothing else: a misspelt key is an error, not a default."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _without_default(schema: dict[str, Any]) -> None:
    """A key that is left out is not the same as one with the default's value."""
    schema.pop("default", None)


class Answer(BaseModel):
    """What is answered; it does not change once it is made."""

    model_config = ConfigDict(frozen=True)


class HookChangeFields(Request):
    """What shall be another; what is left out stays as it is."""

    target: TargetText = Field(default="", json_schema_extra=_without_default)  # empty where it was left out
    rate_limit_per_second: RatePerSecond | None = Field(
        default=None, description="null takes the limit away", json_schema_extra=_without_default
    )


class HookChangeBody(Request):
    """`PATCH /hooks/{id}`."""

    hook: HookChangeFields


class EnableBody(Request):
    """`POST /hooks/{id}/enable`: whether what is pending is delivered, or what arrived before now skipped."""

    backlog: Literal["resume", "skip"]


class ClientFields(Answer):
    """The client."""

    id: ShownClientId


class HookFields(Answer):
    """A hook, without its secret."""

    id: int
    event: str
    target: str
    client: ClientFields
    state: Literal["enabled", "disabled"]
    disabled_reason: Literal["requested", "gone", "failing"] | None
    not_before_ms: int | None = Field(description="events that arrived before then are skipped")
    rate_limit_per_second: float | None
    created_at_ms: int
    updated_at_ms: int


class EffectiveHookFields(HookFields):
    """A hook, and whether every router works by this very state of it."""

    effective: bool


class HookAnswer(Answer):
    """`GET /hooks/{id}`."""

    hook: EffectiveHookFields


class HooksAnswer(Answer):
    """`GET /hooks`: a page; `next_cursor` is null on the last one."""

    hooks: list[HookFields]
    next_cursor: str | None


class EndpointHookFields(Answer):
    """A hook's share of its endpoint."""

    id: int
    event: str
    state: Literal["enabled", "disabled"]
    disabled_reason: Literal["requested", "gone", "failing"] | None
    behind: int


class LastErrorFields(Answer):
    """How the last request ended that was not answered 2xx."""

    at_ms: int
    result: AttemptResult
    status: int | None


class EndpointFields(Answer):
    """An endpoint: all hooks of one client that share a target."""

    id: str = Field(examples=["434-5bd0a1f3c2e48796"])
    client: ClientFields
    target: str | None = Field(description="null where Kafka knows of a hook that the database does not")
    state: EndpointState
    behind: int = Field(description="deliveries that were not made yet")
    behind_exact: bool = Field(description="false: estimated")
    replays_behind: int = Field(description="of replays, resends and pings")
    oldest_undelivered_at_ms: int | None = Field(description="when its event arrived")
    oldest_undelivered_age_seconds: float | None
    next_attempt_at_ms: int | None = Field(description="null where nothing waits for a time")
    failing_since_ms: int | None = Field(description="nothing but failure since then")
    last_success_at_ms: int | None
    last_error: LastErrorFields | None
    hooks: list[EndpointHookFields]


class EndpointAnswer(Answer):
    """`GET /endpoints/{id}`."""

    endpoint: EndpointFields
    unknown: list[str]


class UnrecordedFields(Answer):
    """Attempts of a client that the attempt log does not know of."""

    client: ClientFields
    attempts: int
    first_at_ms: int
    last_at_ms: int


class TrendFields(Answer):
    """Attempts that began within five minutes from then on, roughly."""

    at_ms: int
    delivered: int
    failed: int


class EndpointTotalsFields(Answer):
    """All endpoints that the caller sees, or those of the client that was asked for, whatever else is filtered."""

    endpoints: int
    endpoints_exact: bool = Field(
        description="false: with more than 100,000 hooks, how many are healthy or disabled, and all, is estimated"
    )
    states: dict[EndpointState, int] = Field(description="how many are in each state")
    behind: int
    behind_exact: bool
    replays_behind: int
    oldest_undelivered_at_ms: int | None
    trend: list[TrendFields] | None = Field(
        description="attempts of the last three hours in steps of five minutes, estimated from a sample; of all clients"
    )


class EndpointsAnswer(Answer):
    """`GET /endpoints`: a page; `next_cursor` is null on the last one."""

    endpoints: list[EndpointFields]
    next_cursor: str | None
    unknown: list[str] = Field(description="partitions of which it is not known what is pending, with the reason")
    unrecorded: list[UnrecordedFields] = Field(
        description="clients of whom attempts were not recorded in the last 30 days, the latest first, at most 100: "
        "what is said of their last attempts may be out of date"
    )
    totals: EndpointTotalsFields | None = Field(description="where they were asked for")


class ConceptFields(Request):
    """The resource an event is about; its namespace is the event's, and may be left out."""

    id: Annotated[Any, AfterValidator(_id), id_schema(MarkedId.EVENT_CONCEPT)]
    namespace: Annotated[str, Field(max_length=_MAX_EVENT_CHARS)] | None = None
    sub_namespace: Annotated[str, Field(max_length=_MAX_SUB_NAMESPACE_CHARS)] | None = None


def _finite(value: Any) -> Any:  # noqa: ANN401  # whatever was sent
    """Refuse what Python's reader takes for JSON, and makes of 1e999: nothing shows it but as null.

    Raises:
        PydanticCustomError: there is such a number.
    """
    waiting = [value]
    while waiting:
        node = waiting.pop()
        if isinstance(node, float) and not isfinite(node):
            raise PydanticCustomError("number", "Holds a number that is none of JSON")
        if isinstance(node, dict | list):
            waiting += node.values() if isinstance(node, dict) else node
    return value


class EventBody(Request):
    """One event. With an `id` of the caller's, publishing it twice gives deliveries with the same `webhook-id`."""

    event: EventText
    client: Annotated[Any, AfterValidator(_id), id_schema(MarkedId.EVENT_CLIENT)]
    concept: ConceptFields
    id: UUID | None = None
    occurred_at_ms: WholeNumber | None = None
    data: Annotated[
        Any,
        AfterValidator(_finite),
        Field(description="what the event says of its resource, where its schema has data"),
    ] = None


def _shape(body: Any) -> str:  # noqa: ANN401  # whatever was sent
    return "many events" if isinstance(body, list) else "one event"


def _bounded(body: Any) -> Any:  # noqa: ANN401  # whatever was sent
    """Refuse a body of events that is too large in any direction, before every part of it costs an error of its own.

    Raises:
        PydanticCustomError: one, whatever there is of it.
    """
    events = body if isinstance(body, list) else [body]
    if len(events) > MAX_EVENTS:
        raise PydanticCustomError("too_many_events", "A list has at most {most} events", {"most": MAX_EVENTS})
    objects = [each for event in events if isinstance(event, dict) for each in (event, event.get("concept"))]
    if any(isinstance(each, dict) and len(each) > _MAX_KEYS for each in objects):
        raise PydanticCustomError("too_many_keys", "An object has at most {most} keys", {"most": _MAX_KEYS})
    return body


EventsBody = Annotated[
    Annotated[EventBody, Tag("one event")]
    | Annotated[list[EventBody], Field(min_length=1, max_length=MAX_EVENTS), Tag("many events")],
    Discriminator(_shape),
    BeforeValidator(_bounded),
]


class ReceiptFields(Answer):
    """Where Kafka keeps an accepted event."""

    id: UUID
    topic: str
    partition: int
    offset: int


class ReceiptAnswer(Answer):
    """202 of `POST /events` with one event."""

    receipt: ReceiptFields


class ReceiptsAnswer(Answer):
    """202 of `POST /events` with a list, in its order."""

    receipts: list[ReceiptFields]


class EventTypeFields(Answer):
    """One event of the catalogue. `example` is null where none can be made."""

    name: str
    namespace: str
    description: str | None
    since: str | None = Field(description="as its schema says it: a date, or a version of the platform")
    json_schema: dict[str, Any] = Field(description="JSON Schema 2020-12 of the body of its deliveries")
    example: Any = Field(description="a body that is valid by the schema")


class EventTypesAnswer(Answer):
    """`GET /event-types`."""

    event_types: list[EventTypeFields]


class HealthAnswer(Answer):
    """`GET /healthz` and `GET /readyz`; a check is `ok` or says what is wrong."""

    status: Literal["ok", "ready", "not ready"]
    checks: dict[str, str] = Field(default_factory=dict)


# One line: it goes into a log line, an audit row and a dead letter.
ReasonText = Annotated[
    str, Field(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f\x7f]+$", examples=["the receiver melts, ticket 17"])
]


class ReasonBody(Request):
    """Why an operator wants something of an endpoint; it is kept with who and when."""

    reason: ReasonText


class SkipBody(Request):
    """`POST /endpoints/{endpoint}/skip`."""

    delivery: Annotated[
        str, Field(max_length=100, pattern=r"^[\x21-\x7e]+$", examples=["msg_00112233445566778899aabbccddeeff"])
    ]
    reason: ReasonText


class SkippedFields(Answer):
    """A delivery that goes to the dead letters when its turn comes."""

    delivery: str
    at_ms: int
    asked_by: str
    reason: str


class EndpointSettingsFields(Answer):
    """What operators want of an endpoint at present, who wanted the last change, and why."""

    endpoint: str = Field(description="`<client>-<digest of the target>`", examples=["434-4d1f6f0c2b6a9e11"])
    client: ClientFields
    paused: bool
    skip_before_ms: int | None = Field(description="what is pending since before then goes to the dead letters")
    retry_at_ms: int | None = Field(description="when an operator last asked to try at once")
    skipped: list[SkippedFields]
    asked_by: str | None
    reason: str | None
    revision: int
    published: bool = Field(description="whether Kafka has it: then the endpoint's worker follows it")
    updated_at_ms: int | None


class EndpointSettingsAnswer(Answer):
    """`GET /endpoints/{endpoint}/settings`, and what every action answers."""

    settings: EndpointSettingsFields
