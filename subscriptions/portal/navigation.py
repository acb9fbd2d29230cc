"""Who finds what in the portal's navigation, and where they begin."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from hookstream.subscriptions.models import Role
from hookstream.subscriptions.tokens import Principal

OPERATORS = frozenset({Role.OPERATOR})
INTEGRATORS = frozenset({Role.INTEGRATOR})
EVERYONE = OPERATORS | INTEGRATORS


@dataclass(frozen=True, slots=True)
class Item:
    """A place in the navigation. `path` is below the portal's, and begins those of everything that belongs to it."""

    label: str
    path: str
    roles: Collection[Role]


ITEMS = (
    Item("Hooks", "/hooks", INTEGRATORS),
    Item("Endpoints", "/endpoints", EVERYONE),
    Item("Hooks", "/hooks", OPERATORS),
    Item("Deliveries", "/deliveries", EVERYONE),
    Item("Replays", "/replays", EVERYONE),
    Item("Dead letters", "/dead-letters", EVERYONE),
    Item("Audit", "/audit", OPERATORS),
    Item("Events", "/events", EVERYONE),
    Item("Guide", "/guide", EVERYONE),
    Item("Audit", "/audit", INTEGRATORS),
)


def items_of(principal: Principal) -> list[Item]:
    """What one who is signed in finds."""
    return [item for item in ITEMS if principal.role in item.roles]


def start_of(principal: Principal) -> str:
    """The page that is shown first."""
    return items_of(principal)[0].path
