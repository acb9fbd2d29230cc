"""How databases are opened, and what is said when they do not serve us."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hookstream.subscriptions.database import check_database, open_database

if TYPE_CHECKING:
    from pathlib import Path


def test_a_database_file_is_made_for_its_owner_alone_and_one_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        (tmp_path / "theirs").touch(0o640)
        for name, mode in (("ours", 0o600), ("theirs", 0o640)):
            engine = open_database(f"sqlite:///{tmp_path / name}")
            check_database(engine)
            with engine.begin() as connection:
                connection.exec_driver_sql("CREATE TABLE t (x)")
                modes = {file.stat().st_mode & 0o777 for file in tmp_path.glob(f"{name}*")}
            engine.dispose()
            assert modes == {mode}
    finally:
        os.umask(before)


def test_a_database_in_memory_is_no_file(tmp_path: Path) -> None:
    before = set(tmp_path.iterdir())
    engine = open_database("sqlite://")
    check_database(engine)
    engine.dispose()
    assert set(tmp_path.iterdir()) == before
