"""Who gets into the portal, in a real browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.portal_stack import PortalStack
    from tests.support.visitor import Visitor


def test_a_token_opens_the_portal(stack: PortalStack, visitor: Callable[..., Visitor]) -> None:
    person = visitor()
    person.sign_in(stack.operator.token or "")
    assert person.violations() == []
