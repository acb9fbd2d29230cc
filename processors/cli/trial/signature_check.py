"""How a receiver knows that a delivery is ours: docs/receivers.md shows this very function to integrators.

It shares no line with the code that signs, so that the demo checks the one with the other.

Source: Standard Webhooks 1.0, "Verifying webhook authenticity".
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Mapping


def verify(secret: str, headers: Mapping[str, str], body: bytes) -> None:
    """Raise ValueError unless the request was signed with this hook's secret, within the last five minutes."""
    message_id, timestamp = headers["webhook-id"], headers["webhook-timestamp"]
    if abs(int(time.time()) - int(timestamp)) > 5 * 60:
        raise ValueError("too old, or from the future")
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = message_id.encode() + b"." + timestamp.encode() + b"." + body
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest())
    for signature in headers["webhook-signature"].split():
        version, _, value = signature.partition(",")
        if version == "v1" and hmac.compare_digest(value.encode(), expected):
            return
    raise ValueError("no signature is right")
