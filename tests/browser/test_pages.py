"""Every page of the portal as people meet it: for screen readers, on a telephone, in the dark."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.scenery import Scenery, scenery_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.portal_stack import PortalStack
    from tests.support.visitor import Visitor


@pytest.fixture(scope="module")
def scenery(stack: PortalStack) -> Scenery:
    """What there is to see."""
    return scenery_of(stack)


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_every_page_is_accessible_and_fits(
    stack: PortalStack, scenery: Scenery, visitor: Callable[..., Visitor], scheme: str, width: int
) -> None:
    found: list[str] = []
    for token, pages in ((scenery.integrator.token, scenery.own_pages), (stack.operator.token, scenery.operator_pages)):
        person = visitor(scheme=scheme, width=width)
        person.open("/sign-in")
        found += person.violations()
        person.sign_in(token or "")
        for path in pages.values():
            person.open(path)
            found += person.violations()
            if person.overflow() > 0:
                found.append(f"{path}: {person.overflow()} pixels wider than the window")
    assert found == []
