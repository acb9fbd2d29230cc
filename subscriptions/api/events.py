"""`POST /events`: publishing, for platform services that have no Kafka client."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Annotated, cast

from fastapi import APIRouter, Header

from hookstream.schemas.codecs.events import check_event
from hookstream.schemas.errors import InvalidValueError, UnknownEventError
from hookstream.schemas.event import Concept, Event
from hookstream.schemas.trace_context import decode
from hookstream.subscriptions.changes import PendingReceipt, Receipt
from hookstream.subscriptions.errors import NotPublishedError
from hookstream.subscriptions.models import Role

from .admission import OwnThreads
from .authentication import route_for
from .bodies import (
    EventBody,
    EventsBody,
    ReceiptAnswer,
    ReceiptFields,
    ReceiptsAnswer,
)
from .dependencies import ApiDependencies
from .openapi import BEARER, problems, raised
from .problems import MAX_FAULTS, Fault, ProblemError, invalid, no_such_event

_EXAMPLE_ID = "0190b7a2-7c1e-7d4f-9d6e-5f3f1f2e4a5b"
TraceParent = Annotated[str | None, Header(description="W3C Trace Context; the events belong to that trace")]


def event_routes(deps: ApiDependencies) -> APIRouter:
    """Publishing."""
    router = APIRouter(tags=["events"], route_class=route_for(deps, Role.PLATFORM))
    threads = OwnThreads("publishing", deps.limits.publishing_at_once)

    @router.post(
        "/events",
        status_code=HTTPStatus.ACCEPTED,
        responses=problems(
            _not_published([], [{"id": _EXAMPLE_ID, "detail": "no acknowledgement in time"}]),
            _no_event(deps),
        ),
        **BEARER,
    )
    async def publish_events(body: EventsBody, traceparent: TraceParent = None) -> ReceiptAnswer | ReceiptsAnswer:
        """Publish one event, or a list. The answer comes when Kafka has acknowledged all of them.

        Nothing is published where one of a list is not valid. Where Kafka takes only a part, the problem names the
        rest; repeating the request with the same `id`s gives no second delivery with another `webhook-id`.
        """
        return await threads.run(_published, body, traceparent, deps)

    return router


def _no_event(deps: ApiDependencies) -> ProblemError:
    """422: an event that the catalogue does not have."""
    error = cast("UnknownEventError", raised(deps.catalogue.require_written, "no.event"))
    return invalid(Fault(pointer="#/event", detail=no_such_event(error)))


def _published(body: EventsBody, traceparent: str | None, deps: ApiDependencies) -> ReceiptAnswer | ReceiptsAnswer:
    bodies = body if isinstance(body, list) else [body]
    prefix = "#/{}" if isinstance(body, list) else "#"
    events = _events(bodies, prefix, deps)
    receipts = _publish(events, _trace(traceparent), deps)
    if isinstance(body, list):
        return ReceiptsAnswer(receipts=receipts)
    return ReceiptAnswer(receipt=receipts[0])


def _events(bodies: Sequence[EventBody], prefix: str, deps: ApiDependencies) -> list[Event]:
    """The events, all of them valid; the search for faults ends where no more would be shown."""
    events, faults = [], []
    now_ms = deps.now_ms()
    for index, body in enumerate(bodies):
        try:
            event = _event(body, deps, now_ms)
            check_event(event, deps.catalogue)
            events.append(event)
        except UnknownEventError as exc:
            faults.append(Fault(pointer=f"{prefix.format(index)}/event", detail=no_such_event(exc)))
        except InvalidValueError as exc:
            place = "".join(f"/{step}" for step in exc.field.split(".") if step)
            faults.append(Fault(pointer=prefix.format(index) + place, detail=str(exc)))
        if len(faults) == MAX_FAULTS:
            break
    if faults:
        raise invalid(*faults)
    return events


def _event(body: EventBody, deps: ApiDependencies, now_ms: int) -> Event:
    name = deps.catalogue.require_written(body.event)
    namespace = name.partition(".")[0]
    concept = Concept(
        id=body.concept.id,
        namespace=namespace if body.concept.namespace is None else body.concept.namespace,
        sub_namespace=body.concept.sub_namespace,
    )
    occurred_at_ms = now_ms if body.occurred_at_ms is None else body.occurred_at_ms
    known_id = {} if body.id is None else {"id": body.id}
    return Event(
        name=name, client=body.client, concept=concept, occurred_at_ms=occurred_at_ms, data=body.data, **known_id
    )


def _trace(header: str | None) -> bytes | None:
    """The trace of a request; a header that is broken counts as none, as its specification wants."""
    value = None if header is None else header.encode("ascii", "replace")
    return None if value is None or decode(value) is None else value


def _publish(events: Sequence[Event], trace: bytes | None, deps: ApiDependencies) -> list[ReceiptFields]:
    """Hand all of them over, then wait for all of them under one deadline."""
    deadline_s = deps.monotonic_s() + deps.limits.publish_timeout_s
    pending: list[PendingReceipt | NotPublishedError] = []
    for event in events:
        try:
            pending.append(deps.events.publish(event, traceparent=trace))
        except NotPublishedError as exc:
            pending.append(exc)
    receipts: list[ReceiptFields] = []
    failures: list[dict[str, object]] = []
    for event, handed_over in zip(events, pending, strict=True):
        try:
            receipts.append(_receipt(event, _result(handed_over, deadline_s - deps.monotonic_s())))
        except NotPublishedError as exc:
            failures.append({"id": str(event.id), "detail": str(exc)})
    if failures:
        raise _not_published(receipts, failures)
    return receipts


def _not_published(receipts: Sequence[ReceiptFields], failures: Sequence[Mapping[str, object]]) -> ProblemError:
    """503: Kafka acknowledged a part of a request, or nothing of it."""
    count = len(receipts) + len(failures)
    detail = f"Kafka did not acknowledge {len(failures)} of {count} events; try these again"
    extra = {"receipts": [receipt.model_dump(mode="json") for receipt in receipts], "failures": failures}
    headers = {"Retry-After": "1"}
    return ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, "not-published", detail, extra=extra, headers=headers)


def _result(handed_over: PendingReceipt | NotPublishedError, timeout_s: float) -> Receipt:
    if isinstance(handed_over, NotPublishedError):
        raise handed_over
    return handed_over.result(max(0.0, timeout_s))


def _receipt(event: Event, receipt: Receipt) -> ReceiptFields:
    return ReceiptFields(id=event.id, topic=receipt.topic, partition=receipt.partition, offset=receipt.offset)
