"""Who signed a request: the checker's own code, from the description of Standard Webhooks."""

from __future__ import annotations

import base64
import hashlib
import hmac
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.nemesis.history import Request


@cache
def _key(secret: str) -> bytes:
    return base64.b64decode(secret.removeprefix("whsec_"))


def sign(secret: str, delivery: str, signed_at_s: int, body: str) -> str:
    """One signature, as the header holds it."""
    signed = f"{delivery}.{signed_at_s}.{body}".encode()
    return "v1," + base64.b64encode(hmac.new(_key(secret), signed, hashlib.sha256).digest()).decode()


def signers(request: Request, secrets: Sequence[str]) -> list[int | None]:
    """Which of the secrets made each signature of a request; None for one that none of them made."""
    made = {sign(each, request.delivery, request.signed_at_s, request.body): at for at, each in enumerate(secrets)}
    return [made.get(signature) for signature in request.signatures.split()] or [None]
