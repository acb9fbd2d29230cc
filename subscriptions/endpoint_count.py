"""How many endpoints there are: counted where they are few, estimated from a sample where they are many.

Hooks are numbered, so hooks with numbers at even distances stand for all. A hook counts as its share of its endpoint:
a half where there are two. So it does not matter which of an endpoint's hooks are in the sample.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple

from sqlalchemy import ColumnElement, case, func, select
from sqlalchemy.orm import Session

from hookstream.schemas.event import ClientId
from hookstream.schemas.hook import HookId, HookState

from .endpoints import endpoints_of, hooks_by_id
from .models import DISABLED, LIVING, SubscriptionRow

# A count of so many hooks takes a tenth of a second.
COUNTED: Final = 100_000
# Of so many disabled hooks it is looked up whether others of their endpoints are enabled.
COUNTED_DISABLED: Final = 2_000
# An estimate of what most of them are is then right within some per cent.
SAMPLE: Final = 2_000
# Numbers at exactly even distances may all be of one kind, where hooks are registered in groups. The golden ratio's
# multiples spread best.
_GOLDEN: Final = 0.6180339887498949


class EndpointCount(NamedTuple):
    """How many endpoints there are, and of how many of them all hooks are disabled; not `exact`: estimated."""

    all: int
    disabled: int
    exact: bool = True


def count_endpoints(session: Session, client: ClientId | None) -> EndpointCount:
    """Count the endpoints of one client, or of all; it takes some tenths of a second however many there are."""
    if client is not None or not _are_more(session, LIVING, COUNTED):
        return _counted(session, client)
    found, disabled = _estimated(session)
    if not _are_more(session, DISABLED, COUNTED_DISABLED):
        disabled = _counted_disabled(session)
    return EndpointCount(found, disabled, exact=False)


def _are_more(session: Session, condition: ColumnElement[bool], number: int) -> bool:
    ids = select(SubscriptionRow.hook_id).where(condition).order_by(SubscriptionRow.hook_id)
    return session.scalar(ids.offset(number).limit(1)) is not None


def _counted(session: Session, client: ClientId | None) -> EndpointCount:
    enabled = func.max(case((SubscriptionRow.state == HookState.ENABLED.value, 1), else_=0))
    each = select(enabled.label("enabled")).where(LIVING)
    if client is not None:
        each = each.where(SubscriptionRow.client == client)
    of_one = each.group_by(SubscriptionRow.client, SubscriptionRow.target).subquery()
    found, enabled_ones = session.execute(select(func.count(), func.sum(of_one.c.enabled)).select_from(of_one)).one()
    return EndpointCount(found, found - int(enabled_ones or 0))


def _counted_disabled(session: Session) -> int:
    ids = session.scalars(select(SubscriptionRow.hook_id).where(DISABLED).limit(COUNTED_DISABLED)).all()
    hooks = hooks_by_id(session, [HookId(each) for each in ids]).values()
    return sum(all(hook.disabled for hook in group) for group in endpoints_of(session, hooks).values())


def _estimated(session: Session) -> tuple[int, int]:
    lowest, highest = session.execute(
        select(func.min(SubscriptionRow.hook_id), func.max(SubscriptionRow.hook_id)).where(LIVING)
    ).one()
    numbers = _spread(lowest, highest)
    hooks = [hook for hook in hooks_by_id(session, numbers).values() if not hook.gone]
    in_sample = Counter((hook.client, hook.target) for hook in hooks)
    found = disabled = 0.0
    for endpoint, group in endpoints_of(session, hooks).items():
        share = in_sample[endpoint] / len(group)
        found += share
        disabled += share if all(hook.disabled for hook in group) else 0
    each_stands_for = (highest - lowest + 1) / len(numbers)
    return round(found * each_stands_for), round(disabled * each_stands_for)


def _spread(lowest: int, highest: int) -> Sequence[HookId]:
    """Numbers of the range, one of each of as many equal parts, not all at the same place of their part."""
    part = (highest - lowest + 1) / SAMPLE
    return [HookId(lowest + int((number + number * _GOLDEN % 1) * part)) for number in range(SAMPLE)]
