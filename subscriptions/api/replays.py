"""`/replays`: a window of the log is counted, and sent again when its caller has seen the count and says so.

Integrators replay their own client's window, one at a time; operators every client's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from hookstream.schemas.bounded import long_of
from hookstream.schemas.errors import UnknownEventError
from hookstream.schemas.event import ClientId, EventName
from hookstream.schemas.hook import HookId
from hookstream.subscriptions.backlogs import EndpointHook
from hookstream.subscriptions.choices import ReplayOnly, ReplaySource
from hookstream.subscriptions.database import database_now_ms, transact
from hookstream.subscriptions.endpoints import hooks_by_id
from hookstream.subscriptions.errors import (
    BrokerClockError,
    HookNotFoundError,
    ReplayNotFoundError,
    ReplayStateError,
    ReplayUnfinishedError,
)
from hookstream.subscriptions.models import Role
from hookstream.subscriptions.replays import (
    NewReplay,
    ReplayFilter,
    ReplayQuery,
    ReplayRepository,
    ReplayState,
    StoredReplay,
)
from hookstream.subscriptions.repository import HookRepository

from .admission import Question
from .authentication import asking, foreign_client, principal_of, route_for, scope_of
from .dependencies import ApiDependencies
from .ids import ClientQuery, asked_client, shown_client, shown_concept
from .openapi import BEARER, problems
from .paging import CursorParameter, decode_cursor, encode_cursor
from .problems import Fault, ProblemError, invalid, no_such_event
from .replay_bodies import (
    CountFields,
    HookCountFields,
    NewReplayBody,
    NewReplayFields,
    ProgressFields,
    ReplayAnswer,
    ReplayChangeBody,
    ReplayFields,
    ReplaysAnswer,
    State,
    WindowFields,
)

_MAX_LONG = 2**63 - 1
_MAX_PAGE = 500
_DEFAULT_PAGE = 50
# An integrator does not decide how much of the shared capacity a replay takes.
_INTEGRATORS_RATE_PER_S = 1000.0
# Nor for how long: at lower rates a window of some hours holds a place for weeks.
_INTEGRATORS_LOWEST_RATE_PER_S = 1.0

IdOfReplay = Annotated[int, Path(ge=1, le=_MAX_LONG)]


def replay_routes(deps: ApiDependencies) -> APIRouter:
    """Ask for replays, see them, let them run, pause and end them."""
    routes = route_for(deps, Role.INTEGRATOR, Role.OPERATOR)
    router = APIRouter(tags=["replays"], route_class=routes)
    steering = problems(ReplayNotFoundError(3), ReplayStateError(3, ReplayState.DONE), _operators_replay())

    @router.post(
        "/replays",
        status_code=HTTPStatus.CREATED,
        responses=problems(
            HookNotFoundError(17),
            ReplayUnfinishedError(3),
            foreign_client(),
            deps.admission.busy(Question.ACKNOWLEDGEMENTS),
            BrokerClockError("the broker's clock cannot be read: no acknowledgement"),
        ),
        **BEARER,
    )
    def create_replay(body: NewReplayBody, request: Request, response: Response) -> ReplayAnswer:
        """Count what a replay would send. Nothing is sent before `PATCH /replays/{id}` lets it run.

        The window's offsets are fixed by the count: what is counted is what is sent.
        """
        principal = principal_of(request)
        own = principal.role is Role.INTEGRATOR
        new = _asked(body.replay, request, deps)
        stored = transact(
            deps.sessions,
            lambda session: ReplayRepository(session, principal.actor, deps.now_ms()).create(new, one_at_a_time=own),
        )
        response.headers["Location"] = f"/replays/{stored.id}"
        return _shown(stored, request, deps)

    @router.get("/replays", **BEARER)
    def list_replays(
        request: Request,
        *,
        client: ClientQuery = None,
        state: Annotated[State | None, Query(description="in this state alone")] = None,
        limit: Annotated[int, Query(ge=1, le=_MAX_PAGE)] = _DEFAULT_PAGE,
        cursor: CursorParameter = None,
    ) -> ReplaysAnswer:
        """List replays, the newest first."""
        query = ReplayQuery(
            client=scope_of(request, asked_client(client, deps)),
            state=None if state is None else ReplayState(state),
            before=decode_cursor(cursor, long_of),
            limit=limit + 1,
        )
        with deps.reading() as session:
            found = ReplayRepository(session, "", deps.now_ms()).list(query)
            database_ms = database_now_ms(session)
        page = found[:limit]
        return ReplaysAnswer(
            replays=[_fields(replay, request, deps, {}, database_ms) for replay in page],
            next_cursor=encode_cursor(str(page[-1].id)) if len(found) > limit else None,
        )

    @router.get("/replays/{replay_id}", responses=problems(ReplayNotFoundError(3)), **BEARER)
    def get_replay(replay_id: IdOfReplay, request: Request) -> ReplayAnswer:
        """Show a replay, and how far it is."""
        with deps.reading() as session:
            repository = ReplayRepository(session, "", deps.now_ms())
            return _shown(repository.get(replay_id, client=principal_of(request).client), request, deps)

    @router.patch("/replays/{replay_id}", responses=steering, **BEARER)
    def change_replay(replay_id: IdOfReplay, body: ReplayChangeBody, request: Request) -> ReplayAnswer:
        """Let a counted or paused replay run, or pause one. A pause takes some seconds; what was sent is delivered."""
        if body.replay.state == "running":
            stored = _write(request, deps, replay_id, lambda replays, client: replays.run(replay_id, client=client))
        else:
            stored = _write(request, deps, replay_id, lambda replays, client: replays.pause(replay_id, client=client))
        return _shown(stored, request, deps)

    @router.delete(
        "/replays/{replay_id}",
        status_code=HTTPStatus.NO_CONTENT,
        responses=steering,
        **BEARER,
    )
    def cancel_replay(replay_id: IdOfReplay, request: Request) -> Response:
        """Cancel a replay that has not ended. It stays visible; what it has sent is delivered."""
        _write(request, deps, replay_id, lambda replays, client: replays.cancel(replay_id, client=client))
        return Response(status_code=HTTPStatus.NO_CONTENT)

    return router


def _asked(fields: NewReplayFields, request: Request, deps: ApiDependencies) -> NewReplay:
    """Judge what is asked for, and complete it: a hook says whose it is, and of which event."""
    own = principal_of(request).role is Role.INTEGRATOR
    client = scope_of(request, _client(fields, deps))
    event = _event(fields, deps)
    if fields.hook_id is not None:
        with deps.reading() as session:
            hook = HookRepository(session, "", deps.now_ms()).get(fields.hook_id, client=client).hook
        if event not in (None, hook.event):
            raise invalid(Fault(pointer="#/replay/event", detail=f"hook {hook.id} is not one of this event"))
        client, event = hook.client, hook.event
    to_ms = _now(request, deps) + 1 if fields.to_ms is None else fields.to_ms
    faults = [*_faults(fields, event, to_ms, deps), *(_rate_faults(fields) if own else ())]
    if faults:
        raise invalid(*faults)
    wanted = ReplayFilter(
        from_ms=fields.from_ms,
        to_ms=to_ms,
        client=client,
        hook_id=None if fields.hook_id is None else HookId(fields.hook_id),
        event=event,
        namespace=fields.namespace,
        concept_id=None if fields.concept_id is None else str(fields.concept_id),
    )
    return NewReplay(
        wanted=wanted,
        source=ReplaySource(fields.source),
        only=ReplayOnly(fields.only),
        rate_per_s=fields.rate_per_second,
        endpoint_rate_per_s=fields.rate_per_second_per_endpoint,
    )


def _client(fields: NewReplayFields, deps: ApiDependencies) -> ClientId | None:
    if fields.client is None:
        return None
    if not deps.client_ids.takes(deps.client_ids.read(fields.client)):
        raise invalid(Fault(pointer="#/replay/client", detail=f"is not {deps.client_ids.meaning}"))
    return ClientId(str(fields.client))


def _now(request: Request, deps: ApiDependencies) -> int:
    with asking(deps, request, Question.ACKNOWLEDGEMENTS):
        return deps.broker_clock.now_ms()


def _event(fields: NewReplayFields, deps: ApiDependencies) -> EventName | None:
    try:
        return None if fields.event is None else deps.catalogue.require(fields.event)
    except UnknownEventError as exc:
        raise invalid(Fault(pointer="#/replay/event", detail=no_such_event(exc))) from None


def _faults(fields: NewReplayFields, event: EventName | None, to_ms: int, deps: ApiDependencies) -> list[Fault]:
    faults = []
    if fields.from_ms >= to_ms:
        faults.append(Fault(pointer="#/replay/from_ms", detail="is not before the window's end"))
    if fields.namespace is not None and fields.namespace not in deps.catalogue.namespaces:
        faults.append(Fault(pointer="#/replay/namespace", detail="is none of the catalogue"))
    elif event is not None and fields.namespace not in (None, event.partition(".")[0]):
        faults.append(Fault(pointer="#/replay/namespace", detail=f"is not that of {event}"))
    if fields.concept_id is not None and fields.namespace is None and event is None:
        faults.append(Fault(pointer="#/replay/concept_id", detail="needs a namespace or an event too"))
    elif fields.concept_id is not None:
        kind = deps.catalogue.id_kinds(fields.namespace or str(event).partition(".")[0]).concept
        if not kind.takes(kind.read(fields.concept_id)):
            faults.append(Fault(pointer="#/replay/concept_id", detail=f"is not {kind.meaning}"))
    return faults


def _rate_faults(fields: NewReplayFields) -> list[Fault]:
    rates = {
        "rate_per_second": fields.rate_per_second,
        "rate_per_second_per_endpoint": fields.rate_per_second_per_endpoint,
    }
    lowest, highest = _INTEGRATORS_LOWEST_RATE_PER_S, _INTEGRATORS_RATE_PER_S
    detail = f"operators alone may ask for less than {lowest:g}, or more than {highest:g}"
    return [
        Fault(pointer=f"#/replay/{name}", detail=detail)
        for name, rate in rates.items()
        if not lowest <= rate <= highest
    ]


def _write(
    request: Request,
    deps: ApiDependencies,
    replay_id: int,
    work: Callable[[ReplayRepository, ClientId | None], StoredReplay],
) -> StoredReplay:
    """Do `work` in a transaction. What operators asked for is visible to its client, and not its to steer."""
    principal = principal_of(request)
    client = principal.client
    with deps.reading() as session:
        found = ReplayRepository(session, "", deps.now_ms()).get(replay_id, client=client)
    if client is not None and not found.own:
        raise _operators_replay()
    return transact(
        deps.sessions,
        lambda session: work(ReplayRepository(session, principal.actor, deps.now_ms()), client),
    )


def _operators_replay() -> ProblemError:
    return ProblemError(HTTPStatus.FORBIDDEN, "operators-replay", "an operator asked for this replay")


def _shown(stored: StoredReplay, request: Request, deps: ApiDependencies) -> ReplayAnswer:
    with deps.reading() as session:
        names = hooks_by_id(session, () if stored.count is None else stored.count.hooks)
        database_ms = database_now_ms(session)
    return ReplayAnswer(replay=_fields(stored, request, deps, names, database_ms))


def _hook_count(hook: HookId, deliveries: int, row: EndpointHook | None, deps: ApiDependencies) -> HookCountFields:
    return HookCountFields(
        id=hook,
        deliveries=deliveries,
        client=None if row is None else shown_client(row.client, deps),
        event=None if row is None else row.event,
        target=None if row is None else row.target,
    )


def _fields(
    stored: StoredReplay,
    request: Request,
    deps: ApiDependencies,
    names: Mapping[HookId, EndpointHook],
    database_ms: int,
) -> ReplayFields:
    """A replay as it is shown at `database_ms`, by the clock that leases last by."""
    asked, window, count, progress = stored.asked, stored.window, stored.count, stored.progress
    wanted = asked.wanted
    return ReplayFields(
        id=stored.id,
        job=stored.job,
        state=stored.state.value,
        reason=stored.reason,
        worked_on=stored.claimed_until_ms > database_ms,
        client=shown_client(wanted.client, deps),
        hook_id=wanted.hook_id,
        event=wanted.event,
        namespace=wanted.namespace,
        concept_id=_shown_concept(wanted, deps),
        from_ms=wanted.from_ms,
        to_ms=wanted.to_ms,
        source=asked.source.value,
        only=asked.only.value,
        rate_per_second=asked.rate_per_s,
        rate_per_second_per_endpoint=asked.endpoint_rate_per_s,
        window=None if window is None else WindowFields(records=window.records, left_from_ms=window.left_from_ms),
        count=None
        if count is None
        else CountFields(
            deliveries=count.deliveries,
            estimate_s=count.estimate_s,
            hook_count=count.hook_count,
            hooks=[_hook_count(hook, number, names.get(hook), deps) for hook, number in count.hooks.items()],
        ),
        progress=ProgressFields(
            scanned=progress.scanned,
            sent=progress.sent,
            expired=progress.expired,
            unreadable=progress.unreadable,
        ),
        created_by=stored.created_by if principal_of(request).role is Role.OPERATOR else None,
        created_at_ms=stored.created_at_ms,
        started_at_ms=stored.started_at_ms,
        ended_at_ms=stored.ended_at_ms,
        updated_at_ms=stored.updated_at_ms,
    )


def _shown_concept(wanted: ReplayFilter, deps: ApiDependencies) -> int | str | None:
    namespace = wanted.namespace or (wanted.event or "").partition(".")[0]
    return None if wanted.concept_id is None else shown_concept(wanted.concept_id, namespace, deps)
