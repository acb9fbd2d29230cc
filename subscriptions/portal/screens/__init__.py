"""The screens of the portal, one module for each part of the navigation."""

from .deliveries import DELIVERY_SCREENS
from .endpoints import ENDPOINT_SCREENS
from .events import EVENT_SCREENS
from .guide import GUIDE_SCREENS
from .hooks import HOOK_SCREENS

SCREENS = (*ENDPOINT_SCREENS, *HOOK_SCREENS, *DELIVERY_SCREENS, *EVENT_SCREENS, *GUIDE_SCREENS)

__all__ = ["SCREENS"]
