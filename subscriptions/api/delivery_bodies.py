"""The JSON of answers about deliveries, in the order of its keys."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from hookstream.subscriptions.deliveries import RequestMissing

from .bodies import Answer, ClientFields, ShownId


class HookIdFields(Answer):
    """Which hook."""

    id: int


class AttemptedConceptFields(Answer):
    """The resource."""

    id: ShownId
    namespace: str


class AttemptFields(Answer):
    """One HTTP request."""

    delivery_id: str = Field(description="the `webhook-id`")
    hook: HookIdFields
    event: str
    concept: AttemptedConceptFields
    number: int = Field(description="counts from 1")
    probe: bool = Field(description="it asked whether the endpoint is back; such a one spends no attempt")
    replay: str | None = Field(description="the job, on replays, resends and pings")
    started_at_ms: int
    duration_ms: float
    outcome: str = Field(examples=["delivered", "timeout", "error-status"])
    status: int | None = Field(description="HTTP status, if an answer came")
    answer: str = Field(description="the start of the answer's body, at most 20 kB; of a 2xx 1 kB")


class AttemptsAnswer(Answer):
    """`GET /hooks/{id}/attempts`: a page; `next_cursor` is null on the last one."""

    attempts: list[AttemptFields]
    next_cursor: str | None


class HeaderFields(Answer):
    """A header line."""

    name: str
    value: str


class SentRequestFields(Answer):
    """The request of an attempt, rebuilt from the log: with the target and the secrets that its hook has now."""

    method: str
    url: str
    headers: list[HeaderFields]
    body: str = Field(description="bytes that are no UTF-8 are shown as U+FFFD")
    signed_text: str = Field(description="what the signatures are made of: id, timestamp and body, joined by dots")


class AttemptAnswer(Answer):
    """`GET /deliveries/{id}/attempts/{started_at_ms}`."""

    attempt: AttemptFields
    request: SentRequestFields | None
    request_missing: RequestMissing | None = Field(description="why there is no request")


class DeliveryDeadLetterFields(Answer):
    """Why and when a delivery was given up."""

    reason: str
    detail: str
    died_at_ms: int
    status: int | None = Field(description="HTTP status of the last answer, if there was one")


class DeliveryFields(Answer):
    """A delivery, and what became of it."""

    id: str
    hook: HookIdFields
    client: ClientFields
    event: str
    concept: AttemptedConceptFields
    state: Literal["delivered", "owed", "dead-lettered", "cancelled", "skipped", "unknown"]
    arrived_at_ms: int | None = Field(description="when its event arrived; null where no log was asked, or holds it")
    dead_letter: DeliveryDeadLetterFields | None


class DeliveryAnswer(Answer):
    """`GET /deliveries/{id}`: with a page of its attempts; `next_cursor` is null on the last one."""

    delivery: DeliveryFields
    attempts: list[AttemptFields]
    next_cursor: str | None


class SentFields(Answer):
    """What is on its way; `job` is what the receiver sees in `hookstream-replay`."""

    id: str
    hook: HookIdFields
    job: str


class SentAnswer(Answer):
    """202 of `POST /deliveries/{id}/resend` and `POST /hooks/{id}/ping`."""

    delivery: SentFields
