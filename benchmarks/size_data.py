"""Fills a database for the benchmark at size: hooks and attempts by COPY, on the schema of the project's migrations.

What is filled: two hooks a client, both with one target of its own; the oldest tenth of the hooks was deleted, two in
a thousand are disabled, and ten of the newest have an event that no other has. Attempts begin at even distances over
thirty days, in the order of their ids; every tenth is of the first living hook, one in a hundred of a hook that only
fails beside one of the same target that succeeds. Delivery ids are spread as digests are.

Filling goes on where it was left: each chunk is a transaction. Indexes are made at the end.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Engine, UniqueConstraint, text
from sqlalchemy.schema import AddConstraint

from benchmarks.stack import NotMeasuredError
from hookstream.processors.cli.progress import Progress, counting
from hookstream.subscriptions.migrations import migrate
from hookstream.subscriptions.models import AttemptRow, SubscriptionRow

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from psycopg import Connection
    from sqlalchemy import Index, Table

DAYS = 30
DAY_MS = 24 * 3600 * 1000
FIRST_CLIENT = 1_000
EVENTS = ("lead.new", "lead.updated")
RARE_EVENT = "transaction.lost"
RARE = 10
# Of a sealed secret's size; it is never opened.
SECRETS = '["' + "A" * 160 + '"]'
ANSWER = "\\\\x" + b"<html><body>upstream connect error or disconnect before headers</body></html>".hex()
_CHUNK = 500_000
_BUFFERED = 2_000  # lines: some hundred kilobytes
_OF_DISABLED, _DISABLED = 1_000, (501, 502)  # both hooks of a client
_OF_FAILING, _OF_FAILED = (100, 51), (20, 7)  # every so many, beginning there
_GOLDEN = 0x9E3779B97F4A7C15F39CC0605CEDC835
_MASK = (1 << 128) - 1
_HOOK_COLUMNS = (
    "client", "event", "hook_id", "target", "state", "disabled_reason", "revision", "published_revision",
    "published_offset", "tombstoned", "secrets", "not_before_ms", "created_at_ms", "updated_at_ms",
)  # fmt: skip
_ATTEMPT_COLUMNS = (
    "id", "delivery_id", "hook_id", "hook_revision", "client", "event", "namespace", "concept_id",
    "delivery_partition", "delivery_offset", "number", "probe", "replay", "started_at_ms", "duration_ms", "result",
    "status", "answer", "logged_at_ms",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Filling:
    """What a database holds when it is filled, for whoever asks it. `now_ms` is when its last attempt began."""

    hooks: int
    attempts: int
    now_ms: int

    @property
    def first_living(self) -> int:
        """The first hook that was not deleted; every tenth attempt is its."""
        return self.hooks // 10 // 2 * 2 + 1

    @property
    def failing(self) -> int:
        """The hook that only fails; the one before it has the same target, and succeeds."""
        return self.first_living + 3

    @property
    def step_ms(self) -> float:
        """Between two attempts."""
        return DAYS * DAY_MS / self.attempts

    def client(self, hook: int) -> str:
        """Whose hook it is."""
        return str(FIRST_CLIENT + (hook - 1) // 2)

    def target(self, hook: int) -> str:
        """Where it sends."""
        return f"https://hooks.integrator-{(hook - 1) // 2}.example.com/v1/inbound"

    def event(self, hook: int) -> str:
        """What it wants."""
        return RARE_EVENT if hook > self.hooks - RARE and hook % 2 else EVENTS[(hook - 1) % 2]

    def started_ms(self, attempt: int) -> int:
        """When an attempt began."""
        return self.now_ms - round((self.attempts - attempt) * self.step_ms)

    def hook_rows(self, first: int, last: int) -> Iterator[str]:
        """Lines of COPY for hooks."""
        at = self.now_ms - 2 * DAYS * DAY_MS
        for hook in range(first, last + 1):
            state, reason, tombstoned, secrets = "enabled", "\\N", "f", SECRETS
            if hook < self.first_living:
                state, tombstoned, secrets = "deleted", "t", "[]"
            elif hook % _OF_DISABLED in _DISABLED:
                state, reason = "disabled", "requested"
            yield (
                f"{self.client(hook)}\t{self.event(hook)}\t{hook}\t{self.target(hook)}\t{state}\t{reason}\t1\t1\t{hook}"
                f"\t{tombstoned}\t{secrets}\t0\t{at}\t{at}\n"
            )

    def attempt_rows(self, first: int, last: int) -> Iterator[str]:
        """Lines of COPY for attempts."""
        living, failing = self.first_living, self.failing
        others = self.hooks - living + 1
        now_ms, attempts, step_ms = self.now_ms, self.attempts, self.step_ms
        for n in range(first, last + 1):
            failed = n % _OF_FAILED[0] == _OF_FAILED[1]
            if n % 10 == 0:
                hook = living
            elif n % _OF_FAILING[0] == _OF_FAILING[1]:
                hook, failed = failing, True
            else:
                hook = living + n % others
                if hook == failing:
                    hook -= 1
            at = now_ms - round((attempts - n) * step_ms)
            end = f"error-status\t503\t{ANSWER}" if failed else "delivered\t200\t\\\\x"
            yield (
                f"{n}\tmsg_{n * _GOLDEN & _MASK:032x}\t{hook}\t1\t{FIRST_CLIENT + (hook - 1) // 2}"
                f"\t{EVENTS[(hook - 1) % 2]}\tlead\t{n}\t{n % 12}\t{n}\t1\tf\t\t{at}\t80\t{end}\t{at}\n"
            )


def fill(engine: Engine, hooks: int, attempts: int) -> tuple[Filling, float]:
    """Migrate, and fill what is not filled yet; give what there is, and the seconds that it took.

    Raises:
        NotMeasuredError: the database holds other numbers.
    """
    began = time.monotonic()
    migrate(engine.url.render_as_string(hide_password=False))
    filling, done = _noted(engine, hooks, attempts)
    if not done:
        tables: list[Table] = [SubscriptionRow.__table__, AttemptRow.__table__]  # type: ignore[list-item]
        for table in tables:
            _drop_indexes(engine, table)
        with counting("rows", hooks + attempts + sum(len(_of(table)) for table in tables)) as progress:
            _copy_all(engine, filling, progress)
            for number, table in enumerate(tables):
                _make_indexes(engine, table)
                progress(hooks + attempts + number)
        _execute(engine, "VACUUM (FREEZE, ANALYZE)", "CHECKPOINT", "UPDATE bench_filling SET done = true")
    return filling, time.monotonic() - began


def _noted(engine: Engine, hooks: int, attempts: int) -> tuple[Filling, bool]:
    _execute(
        engine,
        "CREATE TABLE IF NOT EXISTS bench_filling (hooks bigint, attempts bigint, now_ms bigint, done boolean)",
        f"INSERT INTO bench_filling SELECT {hooks}, {attempts}, {time.time_ns() // 1_000_000}, false"  # noqa: S608 - our own names and numbers
        " WHERE NOT EXISTS (SELECT FROM bench_filling)",
    )
    with engine.connect() as connection:
        row = connection.execute(text("SELECT hooks, attempts, now_ms, done FROM bench_filling")).one()
    if (row.hooks, row.attempts) != (hooks, attempts):
        message = f"the directory holds {row.hooks:,} hooks and {row.attempts:,} attempts"
        raise NotMeasuredError(message)
    return Filling(hooks, attempts, row.now_ms), row.done


def _copy_all(engine: Engine, filling: Filling, progress: Progress) -> None:
    total = 0
    for table, columns, number, count, rows in (
        ("subscription_keys", _HOOK_COLUMNS, "hook_id", filling.hooks, filling.hook_rows),
        ("attempts", _ATTEMPT_COLUMNS, "id", filling.attempts, filling.attempt_rows),
    ):
        with engine.connect() as connection:
            have = connection.execute(text(f"SELECT coalesce(max({number}), 0) FROM {table}")).scalar_one()  # noqa: S608 - our own names and numbers
        for first in range(have + 1, count + 1, _CHUNK):
            last = min(first + _CHUNK - 1, count)
            _copy(engine, f"COPY {table} ({', '.join(columns)}) FROM STDIN", rows(first, last))
            progress(total + last)
        total += count
    _execute(
        engine,
        f"SELECT setval(pg_get_serial_sequence('attempts', 'id'), {filling.attempts})",
        f"UPDATE counters SET value = {filling.hooks} WHERE name = 'hook_id'",  # noqa: S608 - our own names and numbers
    )


def _copy(engine: Engine, statement: str, rows: Iterator[str]) -> None:
    with engine.begin() as connection:
        driver: Connection = connection.connection.driver_connection  # type: ignore[assignment]
        with driver.cursor().copy(statement) as copy:
            buffered: list[str] = []
            for row in rows:
                buffered.append(row)
                if len(buffered) >= _BUFFERED:
                    copy.write("".join(buffered))
                    buffered.clear()
            copy.write("".join(buffered))


def _of(table: Table) -> Sequence[Index | UniqueConstraint]:
    """What makes filling slow: each needs a look into a tree at every row."""
    unique = [each for each in table.constraints if isinstance(each, UniqueConstraint)]
    return [*sorted(table.indexes, key=lambda each: str(each.name)), *unique]


def _drop_indexes(engine: Engine, table: Table) -> None:
    with engine.begin() as connection:
        for each in _of(table):
            if isinstance(each, UniqueConstraint):
                connection.execute(text(f"ALTER TABLE {table.name} DROP CONSTRAINT IF EXISTS {each.name}"))
            else:
                connection.execute(text(f"DROP INDEX IF EXISTS {each.name}"))


def _make_indexes(engine: Engine, table: Table) -> None:
    for each in _of(table):
        with engine.begin() as connection:
            connection.execute(text("SET LOCAL maintenance_work_mem = '1GB'"))
            if isinstance(each, UniqueConstraint):
                connection.execute(AddConstraint(each))
            else:
                each.create(connection)


def _execute(engine: Engine, *statements: str) -> None:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for statement in statements:
            connection.execute(text(statement))
