"""The totals beside a list of endpoints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from hookstream.schemas.event import ClientId
from hookstream.subscriptions.attempt_trend import attempt_trend
from hookstream.subscriptions.backlogs import Endpoint
from hookstream.subscriptions.choices import EndpointState
from hookstream.subscriptions.endpoint_count import count_endpoints

from .bodies import EndpointTotalsFields, TrendFields
from .dependencies import ApiDependencies


def count_all(deps: ApiDependencies, client: ClientId | None, judged: Sequence[Endpoint]) -> EndpointTotalsFields:
    """Count the endpoints of one client, or of all: those that were judged, and the others.

    Nothing is pending for the others, so they are healthy, or all of their hooks are disabled. Of very many the number
    is an estimate; those that were judged are among them in any case.
    """
    with deps.reading() as session:
        count = count_endpoints(session, client)
        trend = None if client is not None else attempt_trend(session, now_ms=deps.now_ms())
    states = Counter(each.state for each in judged)
    others_disabled = count.disabled - sum(each.switched_off for each in judged)
    others = count.all - sum(each.target is not None for each in judged)
    if not count.exact:
        others_disabled, others = max(0, others_disabled), max(0, others)
        others_disabled = min(others, others_disabled)
    states[EndpointState.DISABLED] += others_disabled
    states[EndpointState.HEALTHY] += others - others_disabled
    return EndpointTotalsFields(
        endpoints=states.total(),
        endpoints_exact=count.exact,
        states={state: states[state] for state in EndpointState},
        behind=sum(each.pending for each in judged),
        behind_exact=all(each.exact for each in judged),
        replays_behind=sum(each.replays for each in judged),
        oldest_undelivered_at_ms=min((each.oldest_ms for each in judged if each.oldest_ms is not None), default=None),
        trend=None
        if trend is None
        else [TrendFields(at_ms=step.at_ms, delivered=step.delivered, failed=step.failed) for step in trend],
    )
