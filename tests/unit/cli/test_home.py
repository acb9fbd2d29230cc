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
    assert home.variables() == {}
    home.write_variables({"A_TOKEN": "x", "SOME_DIR": "a folder's"})
    assert home.tokens_file.read_text() == "export A_TOKEN=x\nexport SOME_DIR='a folder'\"'\"'s'\n"
    assert home.tokens_file.stat().st_mode & 0o777 == 0o600
    assert home.variables() == {"A_TOKEN": "x", "SOME_DIR": "a folder's"}


def test_a_file_of_tokens_that_a_person_has_changed_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.tokens_file.write_text("# mine\nexport A='open\nB=1\nexport C=2\n")
    assert home.variables() == {"A": "", "C": "2"}
    home.tokens_file.write_bytes(b"\xff")
    assert home.variables() == {}


@pytest.mark.parametrize("kept", [b"", b"[]", b'{"x": "y"}', b"\xff"])
def test_secrets_of_hooks_are_kept_for_their_owner_and_what_is_none_counts_as_none(tmp_path: Path, kept: bytes) -> None:
    home = Home(tmp_path)
    (tmp_path / "listen.json").write_bytes(kept)
    assert home.hook_secrets() == {}
    home.write_hook_secrets({7: "whsec_x"})
    assert home.hook_secrets() == {7: "whsec_x"}
    assert (tmp_path / "listen.json").stat().st_mode & 0o777 == 0o600
