"""What integrators are told to do with a signature is what the standard's own library does."""

from __future__ import annotations

import base64
import inspect
import os
import re
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from standardwebhooks import Webhook

from hookstream.processors.cli.trial import signature_check
from hookstream.processors.cli.trial.signature_check import verify
from tests.support.repository import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET = "whsec_" + base64.b64encode(os.urandom(32)).decode()
BODY = b'{"event":"lead.new"}'


def headers(*, secret: str = SECRET, at: float | None = None, body: bytes = BODY) -> dict[str, str]:
    """What the standard's own library signs."""
    now = datetime.fromtimestamp(at or time.time(), UTC)
    signature = Webhook(secret).sign("msg_1", now, body.decode())
    return {"webhook-id": "msg_1", "webhook-timestamp": str(int(now.timestamp())), "webhook-signature": signature}


def test_a_right_signature_is_right() -> None:
    verify(SECRET, headers(), BODY)


def test_one_of_several_signatures_is_enough() -> None:
    both = headers()
    both["webhook-signature"] = f"v1,{'A' * 43}= v2,x {both['webhook-signature']}"
    verify(SECRET, both, BODY)


WRONG: dict[str, Callable[[], dict[str, str]]] = {
    "another body": lambda: headers(body=b"other"),
    "another secret": lambda: headers(secret="whsec_" + base64.b64encode(os.urandom(32)).decode()),
    "old": lambda: headers(at=time.time() - 600),
    "from the future": lambda: headers(at=time.time() + 600),
    "another id": lambda: headers() | {"webhook-id": "msg_2"},
    "no signature": lambda: headers() | {"webhook-signature": ""},
    "another version": lambda: headers() | {"webhook-signature": "v2," + headers()["webhook-signature"][3:]},
    "no time": lambda: headers() | {"webhook-timestamp": "now"},
}


@pytest.mark.parametrize("wrong", WRONG)
def test_anything_else_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        verify(SECRET, WRONG[wrong](), BODY)


def test_a_missing_header_is_refused() -> None:
    with pytest.raises(KeyError):
        verify(SECRET, {}, BODY)


def test_receivers_md_shows_the_function_that_is_tested_here() -> None:
    shown = re.search(r"```python\n# verify\n(.*?)```", (ROOT / "docs/receivers.md").read_text(), re.DOTALL)
    assert shown
    source = inspect.getsource(signature_check)
    imports = [line for line in source.splitlines() if line.startswith(("import ", "from collections"))]
    expected = "\n".join(imports) + "\n\n\n" + inspect.getsource(verify)
    assert shown[1] == expected
