"""`hookstream token create`: the client of an integrator's token."""

from __future__ import annotations

import pytest

from hookstream.processors.cli import main as cli


def test_a_text_client_is_refused_with_the_setting_that_allows_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["token", "create", "--role", "integrator", "--client", "acme"]) == 2
    assert "for texts, set HOOKSTREAM_CLIENT_IDS=string" in capsys.readouterr().err
