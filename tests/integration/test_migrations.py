"""Migrations on SQLite and PostgreSQL: they make what the models say, and a process knows whether they ran."""

from __future__ import annotations

import importlib.util
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import CheckConstraint, inspect, select, text
from sqlalchemy.orm import sessionmaker

from hookstream.subscriptions import migrations
from hookstream.subscriptions.database import check_database, connected, open_database
from hookstream.subscriptions.errors import DatabaseUnavailableError, SchemaRevisionError
from hookstream.subscriptions.migrations import check_revision, current_revision, migrate, required_revision
from hookstream.subscriptions.models import (
    AttemptGapRow,
    AttemptRow,
    AuditRow,
    Base,
    EndpointSettingsRow,
    IdempotencyRow,
    ReplayRow,
    SubscriptionRow,
    TokenRow,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine

VERSIONS = sorted(Path(migrations.__file__).with_name("versions").glob("r*.py"))


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    found: str = request.getfixturevalue({"sqlite": "sqlite_url", "postgresql": "database_url"}[request.param])
    return found


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    made = open_database(url)
    yield made
    made.dispose()


def test_migrations_make_what_the_models_say(url: str, engine: Engine) -> None:
    migrate(url)
    with connected(engine) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, Base.metadata) == []
        found = inspect(connection)
        for table in Base.metadata.tables.values():
            checks = {check["name"] for check in found.get_check_constraints(table.name)}
            assert checks == {check.name for check in table.constraints if isinstance(check, CheckConstraint)}


def test_migrating_twice_changes_nothing(url: str, engine: Engine) -> None:
    assert current_revision(engine) is None
    assert migrate(url) == migrate(url) == current_revision(engine) == required_revision()


def test_two_processes_may_migrate_at_once(url: str, engine: Engine) -> None:
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(migrate, [url] * 4)) == {required_revision()}
    check_revision(engine)


def test_a_process_refuses_a_database_that_was_not_migrated(url: str, engine: Engine) -> None:
    with pytest.raises(SchemaRevisionError, match="hookstream migrate"):
        check_revision(engine)
    migrate(url)
    check_revision(engine)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SchemaRevisionError, match="newer than this release"):
        check_revision(engine)


def test_each_migration_can_be_taken_back(url: str, engine: Engine) -> None:
    migrate(url)
    for version in reversed(VERSIONS):
        spec = importlib.util.spec_from_file_location(version.stem, version)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        assert migrations.downgrade(url, module.down_revision or "base") == (module.down_revision or "")
    assert set(inspect(engine).get_table_names()) == {"alembic_version"}
    assert migrate(url) == required_revision()


def test_migrations_need_no_working_directory(
    url: str, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    migrate(url)
    check_revision(engine)


def test_a_failed_migration_leaves_nothing(url: str, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alembic.op.bulk_insert", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        migrate(url)
    assert set(inspect(engine).get_table_names()) == set()


@pytest.mark.parametrize(
    "url",
    ["postgresql+psycopg://someone:hunter2@127.0.0.1:1/x", "nonsense hunter2", "mysql://someone:hunter2@127.0.0.1/x"],
)
def test_a_database_that_is_not_there_is_a_clear_error(url: str) -> None:
    with pytest.raises(DatabaseUnavailableError) as caught:
        check_database(open_database(url))
    assert "hunter2" not in str(caught.value)
    with pytest.raises(DatabaseUnavailableError):
        migrate(url)


OLD_ROWS = (Path(__file__).parents[1] / "vectors" / "rows_of_0_1.sql").read_text().split(";\n")[:-1]


def test_a_filled_database_of_0_1_keeps_everything_with_ids_as_text(url: str, engine: Engine) -> None:
    migrate(url, "0008")
    with engine.begin() as connection:
        for statement in OLD_ROWS:
            connection.execute(text(statement))
    migrate(url)
    with sessionmaker(engine)() as session:
        keys = session.scalars(select(SubscriptionRow).order_by(SubscriptionRow.hook_id)).all()
        assert [(row.client, row.event, row.hook_id, row.secrets) for row in keys] == [
            ("434", "lead.new", 7, (b"\x00\x01\x02",)),
            ("9223372036854775807", "lead.new", 8, ()),
        ]
        assert (keys[0].revision, keys[0].published_revision, keys[0].rate_limit_per_s) == (3, 2, 2.5)
        assert [row.client for row in session.scalars(select(TokenRow).order_by(TokenRow.id))] == ["434", None]
        assert [row.client for row in session.scalars(select(IdempotencyRow))] == ["434"]
        assert [row.client for row in session.scalars(select(AuditRow).order_by(AuditRow.id))] == ["434", None]
        attempts = session.scalars(select(AttemptRow)).all()
        assert [(row.id, row.client, row.concept_id, row.duration_ms) for row in attempts] == [(1, "434", "17", 1.5)]
        assert [(row.client, row.attempts) for row in session.scalars(select(AttemptGapRow))] == [("434", 3)]
        replays = session.scalars(select(ReplayRow).order_by(ReplayRow.id)).all()
        assert [(row.client, row.concept_id) for row in replays] == [("434", "17"), (None, None)]
        settings = session.scalars(select(EndpointSettingsRow)).all()
        assert [(row.client, row.target_digest, row.paused) for row in settings] == [("434", "0011223344556677", True)]
        session.add(TokenRow(hash=b"h3", role="integrator", client="acme", name="three", created_at_ms=3))
        session.flush()
        assert session.scalar(select(TokenRow.id).where(TokenRow.client == "acme")) == 3, "numbering goes on"


def test_a_filled_database_goes_back_unless_an_id_is_no_integer(url: str, engine: Engine) -> None:
    migrate(url, "0008")
    with engine.begin() as connection:
        for statement in OLD_ROWS:
            connection.execute(text(statement.replace("9223372036854775807", "900719925474099399")))
    migrate(url)
    downgrade = partial(migrations.downgrade, url, "0008")
    for odd in ("acme", "007", ""):
        with engine.begin() as connection:
            connection.execute(text("UPDATE audit SET client = :odd WHERE client = '434'"), {"odd": odd})
        with pytest.raises(ValueError, match=r"audit\.client holds ids that are no integers"):
            downgrade()
        with engine.begin() as connection:
            connection.execute(text("UPDATE audit SET client = '434' WHERE client = :odd"), {"odd": odd})
    assert downgrade() == "0008"
    with engine.begin() as connection:
        clients = connection.execute(text("SELECT client, hook_id FROM slots ORDER BY hook_id")).all()
        assert [tuple(row) for row in clients] == [(434, 7), (900719925474099399, 8)]
