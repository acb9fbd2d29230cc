"""`/endpoints`: the backlog of each endpoint, and how it is doing; integrators see their client's, operators all."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from heapq import nsmallest
from operator import itemgetter
from typing import Annotated, NamedTuple

from fastapi import APIRouter, Query, Request

from hookstream.schemas.control import parse_endpoint_id
from hookstream.schemas.event import ClientId
from hookstream.schemas.hook import HookId
from hookstream.subscriptions.attempt_gaps import list_gaps
from hookstream.subscriptions.backlogs import Backlogs, Endpoint, EndpointHook, judge, judge_all
from hookstream.subscriptions.choices import EndpointSort, EndpointState
from hookstream.subscriptions.endpoints import (
    EndpointQuery,
    LastOutcomes,
    endpoints_of,
    hooks_of,
    last_outcomes,
    next_hooks,
    paused_endpoints,
)
from hookstream.subscriptions.errors import BacklogUnknownError, EndpointNotFoundError
from hookstream.subscriptions.models import Role

from .admission import Question
from .authentication import asking, principal_of, route_for, scope_of
from .bodies import (
    EndpointAnswer,
    EndpointFields,
    EndpointHookFields,
    EndpointsAnswer,
    LastErrorFields,
    UnrecordedFields,
)
from .dependencies import ApiDependencies
from .endpoint_totals import count_all
from .ids import ClientQuery, asked_client, client_fields
from .openapi import BEARER, problems
from .paging import CursorParameter, decode_cursor, encode_cursor

_MAX_LONG = 2**63 - 1
_MAX_PAGE = 500
_DEFAULT_PAGE = 100
_MAX_AGE_S = 1e9
_MOST_UNRECORDED = 100
_MOST_AT_ONCE = 2000
# Of endpoints with a backlog, sorted: the key and the name of the last endpoint; of the others: the last one's first
# hook.
_POSITION = re.compile(r"o:(-?[0-9]{1,19}):([A-Za-z0-9._~-]{1,3060}-[0-9a-f]{16})|r:([0-9]{1,18})", re.ASCII)


class _Key(NamedTuple):
    """Where an endpoint stands among those of which something is known."""

    number: int
    id: str


class _After(NamedTuple):
    """Where a page begins: behind an endpoint of which something is known, or behind a hook of the others."""

    key: _Key | None = None
    hook_id: HookId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """What was asked for."""

    client: ClientId | None
    state: EndpointState | None
    min_age_ms: float | None
    sort: EndpointSort
    limit: int
    totals: bool

    def shows(self, endpoint: Endpoint, now_ms: int) -> bool:
        """Whether an endpoint is among it."""
        if self.state not in (None, endpoint.state):
            return False
        if self.min_age_ms is None:
            return True
        return endpoint.oldest_ms is not None and now_ms - endpoint.oldest_ms >= self.min_age_ms

    def number(self, endpoint: Endpoint) -> int:
        """The endpoint's place; of two with the same the id decides."""
        if self.sort is EndpointSort.OLDEST:
            return _MAX_LONG if endpoint.oldest_ms is None else endpoint.oldest_ms
        return -(endpoint.pending + endpoint.replays)


def endpoint_routes(deps: ApiDependencies) -> APIRouter:
    """The backlogs of endpoints."""
    router = APIRouter(tags=["endpoints"], route_class=route_for(deps, Role.INTEGRATOR, Role.OPERATOR))
    unknown = problems(
        deps.admission.busy(Question.BACKLOG), BacklogUnknownError("the table of hooks is not read to its end")
    )

    @router.get("/endpoints", responses=unknown, **BEARER)
    def list_endpoints(  # noqa: PLR0913  # the framework reads one parameter an argument
        request: Request,
        *,
        client: ClientQuery = None,
        state: Annotated[EndpointState | None, Query(description="in this state alone")] = None,
        min_age_seconds: Annotated[
            float | None, Query(ge=0, le=_MAX_AGE_S, description="whose oldest pending delivery is at least so old")
        ] = None,
        sort: Annotated[EndpointSort, Query(description="endpoints without a backlog come last")] = EndpointSort.OLDEST,
        limit: Annotated[int, Query(ge=1, le=_MAX_PAGE)] = _DEFAULT_PAGE,
        cursor: CursorParameter = None,
        totals: Annotated[bool, Query(description="whether to count all of them, too")] = False,
    ) -> EndpointsAnswer:
        """List endpoints (one client's hooks that share a target) with their backlogs, the oldest first.

        The numbers are those of the delivery workers' last commits, also while no worker runs. `behind_exact` is false
        where a part of a long log was only sampled; asking again reads on. `unknown` names what is not known. A page
        may be short, and not the last one.
        """
        wanted = _Wanted(
            client=scope_of(request, asked_client(client, deps)),
            state=state,
            min_age_ms=None if min_age_seconds is None else min_age_seconds * 1000,
            sort=sort,
            limit=limit,
            totals=totals,
        )
        after = decode_cursor(cursor, _position) or _After()
        with asking(deps, request, Question.BACKLOG):
            return _page(deps, wanted, after)

    @router.get(
        "/endpoints/{endpoint_id}",
        responses=unknown | problems(EndpointNotFoundError("434-4d1f6f0c2b6a9e11")),
        **BEARER,
    )
    def get_endpoint(endpoint_id: str, request: Request) -> EndpointAnswer:
        """Show one endpoint; `id` is the client and a digest of the target."""
        named, own = parse_endpoint_id(endpoint_id), principal_of(request).client
        if named is None or own not in (None, named[0]):
            raise EndpointNotFoundError(endpoint_id[:40])
        with asking(deps, request, Question.BACKLOG):
            judged, backlogs = _look(deps, named[0])
            for endpoint in judged:
                if endpoint.id == endpoint_id:
                    shown = _shown(deps, [endpoint], deps.now_ms())[0]
                    return EndpointAnswer(endpoint=shown, unknown=list(backlogs.unknown))
        raise EndpointNotFoundError(endpoint_id)

    return router


def _page(deps: ApiDependencies, wanted: _Wanted, after: _After) -> EndpointsAnswer:
    """One page: first those of which something is known, sorted, then the others, in the order of their hooks.

    What happens between two pages may show an endpoint on both, or on neither.
    """
    judged, backlogs = _look(deps, wanted.client)
    now_ms = deps.now_ms()
    ends_s = deps.monotonic_s() + deps.limits.list_within_s
    noted = [each for each in judged if each.state is not EndpointState.HEALTHY or each.pending or each.replays]
    found: list[tuple[str, Endpoint]] = []
    if after.hook_id is None:
        shown = _sorted([each for each in noted if wanted.shows(each, now_ms)], wanted, after.key)
        found = [(f"o:{key.number}:{key.id}", each) for key, each in shown]
    goes_on = ""
    if len(found) <= wanted.limit:
        for position, endpoint in _others(deps, wanted, backlogs, noted, after=after.hook_id or HookId(0)):
            if endpoint is not None and wanted.shows(endpoint, now_ms):
                found.append((position, endpoint))
                if len(found) > wanted.limit:
                    break
            if deps.monotonic_s() >= ends_s:  # few of many fit: the next page goes on from here
                goes_on = position
                break
    page = found[: wanted.limit]
    if len(found) > wanted.limit:
        goes_on = page[-1][0]
    return EndpointsAnswer(
        endpoints=_shown(deps, [endpoint for _, endpoint in page], now_ms),
        next_cursor=encode_cursor(goes_on) if goes_on else None,
        unknown=list(backlogs.unknown),
        unrecorded=_unrecorded(deps, wanted.client),
        totals=count_all(deps, wanted.client, judged) if wanted.totals else None,
    )


def _sorted(endpoints: Sequence[Endpoint], wanted: _Wanted, after: _Key | None) -> list[tuple[_Key, Endpoint]]:
    """The first of them behind a key, one more than a page has, and some more. Ids are made for few of many."""
    numbered = [(wanted.number(each), each) for each in endpoints]
    if after is not None:
        numbered = [each for each in numbered if each[0] >= after.number]
    # Those with the number of `after` may stand before it: the page is then filled by as many more.
    same = 0 if after is None else sum(number == after.number for number, _ in numbered)
    first = nsmallest(wanted.limit + 1 + same, (number for number, _ in numbered))
    keyed = [(_Key(number, each.id), each) for number, each in numbered if not first or number <= first[-1]]
    keyed.sort(key=itemgetter(0))
    return [each for each in keyed if after is None or each[0] > after]


def _unrecorded(deps: ApiDependencies, client: ClientId | None) -> list[UnrecordedFields]:
    with deps.reading() as session:
        found = list_gaps(session, client, limit=_MOST_UNRECORDED)
    return [
        UnrecordedFields(
            client=client_fields(gap.client, deps),
            attempts=gap.attempts,
            first_at_ms=gap.first_at_ms,
            last_at_ms=gap.last_at_ms,
        )
        for gap in found
    ]


def _others(
    deps: ApiDependencies, wanted: _Wanted, backlogs: Backlogs, noted: Sequence[Endpoint], *, after: HookId
) -> Iterator[tuple[str, Endpoint | None]]:
    """Every endpoint in the order of the first hooks, as the database has them; those without a backlog have no age.

    None stands for one that is noted already, and for a hook that is not its endpoint's first. So many hooks are looked
    at, not so many endpoints found: a question takes no longer where few of many fit.
    """
    states = (EndpointState.HEALTHY, EndpointState.DISABLED)
    if wanted.min_age_ms is not None or (wanted.state is not None and wanted.state not in states):
        return
    disabled = None if wanted.state is None else wanted.state is EndpointState.DISABLED
    known = {each.first_hook for each in noted}
    limit = 2 * wanted.limit + 1
    while True:
        query = EndpointQuery(client=wanted.client, disabled=disabled, after=after, limit=limit)
        with deps.reading() as session:
            found = next_hooks(session, query)
            groups = endpoints_of(session, [hook for hook in found if hook.id not in known])
        now_ms = deps.now_ms()
        for hook in found:
            after = hook.id
            of_it = groups.get((hook.client, hook.target), ())
            is_first = hook.id not in known and hook.id == min((each.id for each in of_it), default=None)
            yield f"r:{after}", judge(of_it, backlogs, paused=False, now_ms=now_ms) if is_first else None
        if len(found) < query.limit:
            return
        limit = min(2 * limit, _MOST_AT_ONCE)  # few of those fit, or endpoints have many hooks


def _look(deps: ApiDependencies, client: ClientId | None) -> tuple[list[Endpoint], Backlogs]:
    """Every endpoint of the clients of whom something is known, and of the one that was asked for."""
    rows: list[EndpointHook] = []
    with deps.reading() as session:
        paused = paused_endpoints(session, client)

    def not_before(clients: Collection[ClientId]) -> dict[HookId, int]:
        about = {*clients, *(whose for whose, _ in paused), *([] if client is None else [client])}
        with deps.reading() as session:
            rows.extend(hooks_of(session, about))
        return {row.id: row.not_before_ms for row in rows if row.not_before_ms}

    backlogs = deps.backlogs.read(client, not_before)
    return judge_all(rows, backlogs, paused=paused, now_ms=deps.now_ms()), backlogs


def _shown(deps: ApiDependencies, endpoints: Sequence[Endpoint], now_ms: int) -> list[EndpointFields]:
    """These endpoints, with what the attempt log knows of them."""
    with deps.reading() as session:
        known = last_outcomes(session, [hook.id for endpoint in endpoints for hook in endpoint.hooks])
    shown = []
    for endpoint in endpoints:
        outcomes = LastOutcomes()
        for hook in endpoint.hooks:
            outcomes = outcomes.joined(known.get(hook.id, LastOutcomes()))
        shown.append(_fields(endpoint, outcomes, deps, now_ms))
    return shown


def _fields(endpoint: Endpoint, outcomes: LastOutcomes, deps: ApiDependencies, now_ms: int) -> EndpointFields:
    failure, oldest_ms = outcomes.failure, endpoint.oldest_ms
    return EndpointFields(
        id=endpoint.id,
        client=client_fields(endpoint.client, deps),
        target=endpoint.target,
        state=endpoint.state,
        behind=endpoint.pending,
        behind_exact=endpoint.exact,
        replays_behind=endpoint.replays,
        oldest_undelivered_at_ms=oldest_ms,
        oldest_undelivered_age_seconds=None if oldest_ms is None else max(0, now_ms - oldest_ms) / 1000,
        next_attempt_at_ms=endpoint.next_attempt_ms,
        failing_since_ms=endpoint.failing_since_ms,
        last_success_at_ms=outcomes.success_ms,
        last_error=(
            None
            if failure is None
            else LastErrorFields(at_ms=failure.at_ms, result=failure.result, status=failure.status)
        ),
        hooks=[
            EndpointHookFields(
                id=hook.id,
                event=hook.event,
                state="disabled" if hook.disabled else "enabled",
                disabled_reason=None if hook.disabled_reason is None else hook.disabled_reason.value,
                behind=hook.pending,
            )
            for hook in endpoint.hooks
        ],
    )


def _position(text: str) -> _After | None:
    found = _POSITION.fullmatch(text)
    if found is None:
        return None
    number, endpoint, hook_id = found.groups()
    return _After(hook_id=HookId(int(hook_id))) if endpoint is None else _After(key=_Key(int(number), endpoint))
