"""The programs of the portal's page "Verify this" do what they say, in every language that this machine has."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import shutil
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from hookstream.subscriptions.portal.verify_examples import LANGUAGES, Language, SignedDelivery, example_in

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "whsec_" + base64.b64encode(bytes(range(24))).decode()
BODY = '{"a":"it\'s \\"$b\\" `c` ${d} \\\\ <ID> </script> \u00e9 \u2028 \U0001f600 \x7f","n":9007199254740993}\r\n\t'
HERE = [language for language in LANGUAGES if shutil.which(language.run.split()[0])]


def delivery_of(body: str) -> SignedDelivery:
    """One that was signed with two secrets, the second of which is ours."""
    text = f"msg_1.1795463750.{body}".encode()
    made = hmac.new(base64.b64decode(SECRET.removeprefix("whsec_")), text, hashlib.sha256).digest()
    signatures = f"v1,{base64.b64encode(b'x' * 32).decode()} v1,{base64.b64encode(made).decode()}"
    return SignedDelivery(id="msg_1", timestamp="1795463750", signature=signatures, body=body)


def run(language: Language, delivery: SignedDelivery, folder: Path) -> str:
    """Save a program as its page says, and run it so; what it prints."""
    (folder / language.file).write_text(example_in(language, delivery))
    env = {**os.environ, "WEBHOOK_SECRET": SECRET, "GOFLAGS": "-mod=mod", "GO111MODULE": "off"}
    done = subprocess.run(  # noqa: S603  # our own program, and no shell
        language.run.split(), cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("language", HERE, ids=lambda language: language.name)
def test_a_program_verifies_the_delivery_that_stands_in_it_and_no_other(language: Language, tmp_path: Path) -> None:
    delivery = delivery_of(BODY)
    assert run(language, delivery, tmp_path) == "valid"
    assert run(language, replace(delivery, timestamp="1795463751"), tmp_path) == "not valid"
