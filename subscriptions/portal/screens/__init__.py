"""The screens of the portal, one module for each part of the navigation."""

from .audit import AUDIT_SCREENS
from .dead_letters import DEAD_LETTER_SCREENS
from .deliveries import DELIVERY_SCREENS
from .endpoints import ENDPOINT_SCREENS
from .events import EVENT_SCREENS
from .guide import GUIDE_SCREENS
from .hooks import HOOK_SCREENS
from .replays import REPLAY_SCREENS

SCREENS = (
    *ENDPOINT_SCREENS,
    *HOOK_SCREENS,
    *DELIVERY_SCREENS,
    *REPLAY_SCREENS,
    *DEAD_LETTER_SCREENS,
    *AUDIT_SCREENS,
    *EVENT_SCREENS,
    *GUIDE_SCREENS,
)

__all__ = ["SCREENS"]
