"""`/endpoints/{endpoint}/…`: what operators want of an endpoint, effective on the worker that owns it, now or later."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter, Request

from hookstream.schemas.control import parse_endpoint_id
from hookstream.subscriptions.database import transact
from hookstream.subscriptions.endpoint_settings import (
    MAX_SKIPPED,
    EndpointKey,
    EndpointSettingsChanges,
    StoredSettings,
)
from hookstream.subscriptions.errors import BrokerClockError, EndpointNotFoundError, TooManySkipsError
from hookstream.subscriptions.models import Role

from .admission import Question
from .authentication import asking, principal_of, route_for
from .bodies import EndpointSettingsAnswer, EndpointSettingsFields, ReasonBody, SkipBody, SkippedFields
from .dependencies import ApiDependencies
from .ids import IdOfEndpoint, client_fields
from .openapi import BEARER, problems

_NOT_FOUND = EndpointNotFoundError("434-4d1f6f0c2b6a9e11")
_PROBLEMS = problems(_NOT_FOUND)


def endpoint_action_routes(deps: ApiDependencies) -> APIRouter:
    """Operators alone."""
    router = APIRouter(tags=["endpoints"], route_class=route_for(deps, Role.OPERATOR))
    asking_kafka = problems(
        _NOT_FOUND,
        deps.admission.busy(Question.ACKNOWLEDGEMENTS),
        BrokerClockError("the broker's clock cannot be read: no acknowledgement"),
    )

    @router.get("/endpoints/{endpoint}/settings", responses=_PROBLEMS, **BEARER)
    def get_settings(endpoint: IdOfEndpoint) -> EndpointSettingsAnswer:
        """Show what operators want of an endpoint at present."""
        return _shown(_read(deps, _key(endpoint)), deps)

    @router.post("/endpoints/{endpoint}/pause", responses=_PROBLEMS, **BEARER)
    def pause_endpoint(endpoint: IdOfEndpoint, body: ReasonBody, request: Request) -> EndpointSettingsAnswer:
        """Send nothing to an endpoint. What arrives stays pending, for as long as Kafka has it."""
        return _write(request, deps, lambda settings: settings.pause(_key(endpoint), body.reason))

    @router.post("/endpoints/{endpoint}/resume", responses=_PROBLEMS, **BEARER)
    def resume_endpoint(endpoint: IdOfEndpoint, body: ReasonBody, request: Request) -> EndpointSettingsAnswer:
        """Send to a paused endpoint again: its backlog, in order, and then what arrives."""
        return _write(request, deps, lambda settings: settings.resume(_key(endpoint), body.reason))

    @router.post("/endpoints/{endpoint}/retry-now", responses=_PROBLEMS, **BEARER)
    def retry_endpoint_now(endpoint: IdOfEndpoint, body: ReasonBody, request: Request) -> EndpointSettingsAnswer:
        """Try at once whatever waits for a time: a retry, a probe, a Retry-After. No attempt is given or taken."""
        return _write(request, deps, lambda settings: settings.retry_now(_key(endpoint), body.reason))

    @router.post("/endpoints/{endpoint}/drain", responses=asking_kafka, **BEARER)
    def drain_endpoint(endpoint: IdOfEndpoint, body: ReasonBody, request: Request) -> EndpointSettingsAnswer:
        """Move the whole backlog of an endpoint to the dead letters, from where it can be resent.

        That of disabled hooks of the same target goes, too. What is in flight may still be delivered.
        """
        key = _key(endpoint)
        _read(deps, key)  # Kafka is not asked about an endpoint that does not exist
        with asking(deps, request, Question.ACKNOWLEDGEMENTS):
            before_ms = deps.broker_clock.now_ms()
        return _write(request, deps, lambda settings: settings.drain(key, body.reason, before_ms=before_ms))

    @router.post(
        "/endpoints/{endpoint}/skip",
        responses=asking_kafka | problems(TooManySkipsError(_NOT_FOUND.endpoint, MAX_SKIPPED)),
        **BEARER,
    )
    def skip_delivery(endpoint: IdOfEndpoint, body: SkipBody, request: Request) -> EndpointSettingsAnswer:
        """Move one delivery of an endpoint to the dead letters: at once where its resource waits for it, or in turn."""
        key = _key(endpoint)
        _read(deps, key)
        with asking(deps, request, Question.ACKNOWLEDGEMENTS):
            at_ms = deps.broker_clock.now_ms()
        return _write(
            request, deps, lambda settings: settings.skip(key, body.reason, delivery_id=body.delivery, at_ms=at_ms)
        )

    return router


def _key(endpoint: str) -> EndpointKey:
    """The endpoint of a path.

    Raises:
        EndpointNotFoundError: no endpoint can have this name.
    """
    found = parse_endpoint_id(endpoint)
    if found is None:
        raise EndpointNotFoundError(endpoint)
    return EndpointKey(*found)


def _read(deps: ApiDependencies, endpoint: EndpointKey) -> StoredSettings:
    with deps.reading() as session:
        return EndpointSettingsChanges(session, "", deps.now_ms()).get(endpoint)


def _write(
    request: Request, deps: ApiDependencies, work: Callable[[EndpointSettingsChanges], StoredSettings]
) -> EndpointSettingsAnswer:
    """Do `work` in a transaction, and wake the relay."""
    actor = principal_of(request).actor
    stored = transact(deps.sessions, lambda session: work(EndpointSettingsChanges(session, actor, deps.now_ms())))
    deps.settings_changed()
    return _shown(stored, deps)


def _shown(stored: StoredSettings, deps: ApiDependencies) -> EndpointSettingsAnswer:
    wanted = stored.wanted
    return EndpointSettingsAnswer(
        settings=EndpointSettingsFields(
            endpoint=wanted.endpoint,
            client=client_fields(wanted.client, deps),
            paused=wanted.paused,
            skip_before_ms=wanted.skip_before_ms or None,
            retry_at_ms=wanted.retry_at_ms or None,
            skipped=[
                SkippedFields(delivery=skip.delivery_id, at_ms=skip.at_ms, asked_by=skip.asked_by, reason=skip.reason)
                for skip in wanted.skipped
            ],
            asked_by=wanted.asked_by or None,
            reason=wanted.reason or None,
            revision=wanted.revision,
            published=stored.published,
            updated_at_ms=stored.updated_at_ms or None,
        )
    )
