"""`make screenshots`: pictures of the portal at work, for README and docs. No test: pytest runs it when it is named."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.repository import ROOT
from tests.support.scenery import Scenery, scenery_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.portal_stack import PortalStack
    from tests.support.visitor import Visitor

IMAGES = ROOT / "docs" / "images"
# Those that documents show; every other page is only judged.
SHOWN = (
    "hooks", "add-hooks", "hook", "attempt", "verify", "event", "endpoints", "endpoint", "replay", "dead-letters",
)  # fmt: skip
LOOKS = {"light": ("light", 1280), "dark": ("dark", 1280), "narrow": ("light", 390)}


@pytest.fixture(scope="module")
def scenery(stack: PortalStack) -> Scenery:
    """What there is to see."""
    return scenery_of(stack)


@pytest.mark.parametrize("look", LOOKS)
def test_pictures_are_taken(stack: PortalStack, scenery: Scenery, visitor: Callable[..., Visitor], look: str) -> None:
    """Every page that a document shows, in one look."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    scheme, width = LOOKS[look]
    for token, pages in ((scenery.integrator.token, scenery.own_pages), (stack.operator.token, scenery.operator_pages)):
        person = visitor(scheme=scheme, width=width)
        person.sign_in(token or "")
        for name in SHOWN:
            if name not in pages:
                continue
            person.open(pages[name])
            person.page.screenshot(path=IMAGES / f"{name}-{look}.png", full_page=True)
