"""The folder of `hookstream up`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hookstream.processors.cli.console import CommandError
from hookstream.processors.cli.trial.home import Home

if TYPE_CHECKING:
    from pathlib import Path


def test_the_key_is_made_once_and_kept(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    with home.opened():
        key = home.secret_key()
        assert len(key) == 32
        assert Home(tmp_path / "home").secret_key() == key
        assert (tmp_path / "home" / "secret.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", ["", "not base64!", "QUJD\n"])
def test_a_file_that_is_no_key_is_refused_and_not_replaced(tmp_path: Path, text: str) -> None:
    (tmp_path / "secret.key").write_text(text)
    with pytest.raises(CommandError, match=r"secret\.key"):
        Home(tmp_path).secret_key()
    assert (tmp_path / "secret.key").read_text() == text


def test_no_other_user_reads_the_database(tmp_path: Path) -> None:
    folder = tmp_path / "home"
    folder.mkdir(mode=0o755)
    for name in ("hookstream.sqlite3", "hookstream.sqlite3-wal"):  # as an earlier release left them
        (folder / name).touch(0o644)
    with Home(folder).opened():
        assert {file.stat().st_mode & 0o777 for file in folder.glob("hookstream.sqlite3*")} == {0o600}
        assert folder.stat().st_mode & 0o777 == 0o700


def test_two_cannot_have_it_at_once(tmp_path: Path) -> None:
    with Home(tmp_path).opened(), pytest.raises(CommandError, match="another"), Home(tmp_path).opened():
        pytest.fail("the second one was let in")
    with Home(tmp_path).opened():
        pass


def test_a_folder_that_cannot_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CommandError, match="cannot use the folder"), Home(tmp_path / "file" / "x").opened():
        pytest.fail("opened")


def test_tokens_are_exports_that_only_the_owner_reads(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.write_tokens({"A_TOKEN": "x", "B_TOKEN": "y"})
    assert home.tokens_file.read_text() == "export A_TOKEN=x\nexport B_TOKEN=y\n"
    assert home.tokens_file.stat().st_mode & 0o777 == 0o600
