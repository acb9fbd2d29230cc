"""Commands and a database that is not there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hookstream.processors.cli import main as cli

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("command", [("secrets", "rotate", "--dry-run"), ("token", "list")], ids=" ".join)
def test_a_file_that_is_not_there_is_not_made(
    command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOOKSTREAM_DATABASE_URL", f"sqlite:///{tmp_path}/hooks.db")
    monkeypatch.setenv("HOOKSTREAM_SECRET_KEY", f"{'A' * 43}=")
    assert cli.run(command) == 1
    assert capsys.readouterr().err == "hookstream: there is no such database yet: hookstream migrate\n"
    assert list(tmp_path.iterdir()) == []
