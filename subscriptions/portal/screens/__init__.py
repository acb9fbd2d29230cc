"""The screens of the portal, one module for each part of the navigation."""

from .endpoints import ENDPOINT_SCREENS

SCREENS = (*ENDPOINT_SCREENS,)

__all__ = ["SCREENS"]
