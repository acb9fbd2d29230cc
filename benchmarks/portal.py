"""The portal at size: how long each page takes at the server, and how many bytes it has.

On PostgreSQL, with 10,000 endpoints, a tenth of which have a backlog, and 1,000,000 attempts, a tenth of which one
endpoint has. Pages are asked for in this process, one after the other; what Kafka would answer is in memory, as the API
keeps it for a second. The first request of each page is not counted.
"""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from http import HTTPStatus
from statistics import median
from typing import TYPE_CHECKING

from sqlalchemy import text

from benchmarks.figures import Figure
from benchmarks.running import Size, arguments, main
from benchmarks.stack import NotMeasuredError
from hookstream.processors.lifecycle import spare_garbage_collection
from hookstream.schemas.control import endpoint_id, target_digest
from hookstream.schemas.delivery import DeliveryId
from hookstream.schemas.event import ClientId
from hookstream.schemas.hook import HookId
from hookstream.subscriptions.backlogs import Backlogs, HookBacklog, NotBefore, SeenHealth
from hookstream.subscriptions.database import transact
from hookstream.subscriptions.dead_letters import DeadLetterPlace, FoundDeadLetter
from hookstream.subscriptions.models import Role
from hookstream.subscriptions.portal.rendering import STATIC
from tests.support import machine, values
from tests.support.portal import Browser, signed_in
from tests.support.postgres import PostgresServer, new_database
from tests.support.subscriptions_api import Api, FakeBacklogs

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

BAR_MS = 300.0
BAR_BYTES = 100_000
ROUNDS = 7
FIRST_CLIENT = 1_000
EVENTS = ("lead.new", "lead.updated")
ANSWER = "<html><body>" + "upstream connect error " * 40 + "</body></html>"
SIZES = (
    Size("endpoints", 10_000, 200, "endpoints, each of a client of its own, with two hooks"),
    Size("attempts", 1_000_000, 5_000, "attempts, every tenth of the first endpoint"),
    Size("trouble", 1_000, 100, "endpoints with a backlog"),
)
# Two hooks an endpoint, numbered from 1; the secrets are never opened.
HOOKS = """
INSERT INTO subscription_keys (client, event, hook_id, target, state, revision, published_revision, tombstoned, secrets,
  not_before_ms, created_at_ms, updated_at_ms)
SELECT (:first + n / 2)::text, (ARRAY['lead.new', 'lead.updated'])[n % 2 + 1], n + 1,
  'https://hooks.integrator-' || n / 2 || '.example.com/v1/inbound', 'enabled', 1, 1, false, '[]', 0, 1, 1
FROM generate_series(0, 2 * :endpoints - 1) n
"""
# Every tenth is the first hook's; one in twenty has failed, with an answer.
ATTEMPTS = """
INSERT INTO attempts (delivery_id, hook_id, hook_revision, client, event, namespace, concept_id, delivery_partition,
  delivery_offset, number, probe, replay, started_at_ms, duration_ms, result, status, answer, logged_at_ms)
SELECT 'msg_' || lpad(to_hex(n), 32, '0'), hook, 1, (:first + (hook - 1) / 2)::text,
  (ARRAY['lead.new', 'lead.updated'])[(hook - 1) % 2 + 1], 'lead', n::text, 0, n, 1, false, '', :now - n * 60, 80,
  CASE WHEN failed THEN 'error-status' ELSE 'delivered' END, CASE WHEN failed THEN 503 ELSE 200 END,
  CASE WHEN failed THEN convert_to(:answer, 'UTF8') ELSE ''::bytea END, :now - n * 60
FROM (SELECT n, CASE WHEN n % 10 = 0 THEN 1 ELSE n % (2 * :endpoints) + 1 END AS hook, n % 20 = 0 AS failed
  FROM generate_series(1, :attempts) n) made
"""


class Backlogged(FakeBacklogs):
    """Backlogs in memory; of one client those alone are looked at, as in Kafka."""

    def read(self, client: ClientId | None, not_before: NotBefore) -> Backlogs:
        """Give them."""
        if client is None:
            return super().read(client, not_before)
        mine = {key: hook for key, hook in self.backlogs.hooks.items() if hook.client == client}
        not_before([client])
        return replace(self.backlogs, hooks=mine)


def target(number: int) -> str:
    """The target of an endpoint."""
    return f"https://hooks.integrator-{number}.example.com/v1/inbound"


def fill(api: Api, options: argparse.Namespace) -> None:
    """Write hooks and attempts, and let Kafka have what is pending."""

    def rows(session: Session) -> None:
        session.execute(text(HOOKS), {"first": FIRST_CLIENT, "endpoints": options.endpoints})
        named = {"now": api.clock(), "answer": ANSWER, "attempts": options.attempts}
        session.execute(text(ATTEMPTS), named | {"first": FIRST_CLIENT, "endpoints": options.endpoints})

    transact(api.sessions, rows)
    with api.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))
    hooks: dict[HookId, HookBacklog] = {}
    health: dict[tuple[ClientId, bytes], SeenHealth] = {}
    for number in range(min(options.trouble, options.endpoints)):
        client = ClientId(str(FIRST_CLIENT + number))
        oldest_ms = api.clock() - number * 1_000
        for share, event in enumerate(EVENTS):
            hook = HookId(2 * number + share + 1)
            hooks[hook] = HookBacklog(client=client, event=event, pending=17, oldest_ms=oldest_ms, backlogged=True)
        health[client, target_digest(target(number))] = SeenHealth(quarantined=number % 2 == 0, probe_at_ms=oldest_ms)
    api.backlogs.backlogs = Backlogs(hooks=hooks, health=health)
    made = replace(values.DEAD_LETTER, last_answer=ANSWER.encode(), detail="x" * 300)
    api.dead_letters.dead_letters = [
        FoundDeadLetter(DeadLetterPlace(0, n), made, 1, replace(values.DELIVERY, id=DeliveryId(f"msg_{n:032x}")))
        for n in range(500)
    ]
    for _ in range(100):
        asked = api.operator()("POST", "/replays", {"replay": {"from_ms": api.clock() - 3_600_000}})
        if asked.status_code != HTTPStatus.CREATED:
            message = f"a replay cannot be asked for: {asked.text}"
            raise NotMeasuredError(message)


def measure(options: argparse.Namespace) -> tuple[Sequence[Figure], Sequence[str]]:
    """Ask for every page some times."""
    binaries = machine.machine_postgres() or machine.wheel_postgres()
    if binaries is None:
        message = "there is no PostgreSQL on this machine"
        raise NotMeasuredError(message)
    with ExitStack() as stack:
        server = PostgresServer(binaries)
        stack.callback(server.close)
        server.start()
        backlogs = Backlogged()
        api = Api(stack.enter_context(contextmanager(new_database)(server.url)), backlogs=backlogs)
        api.backlogs = backlogs
        stack.callback(api.close)
        fill(api, options)
        spare_garbage_collection()  # as the role does
        return pages(api)


def visit(browser: Browser, path: str) -> tuple[float, int]:
    """The milliseconds that a page takes, and its bytes."""
    began = time.perf_counter()
    answer = browser.get(path)
    took_ms = (time.perf_counter() - began) * 1000
    if answer.status_code != HTTPStatus.OK:
        message = f"{path} answers {answer.status_code}"
        raise NotMeasuredError(message)
    return took_ms, len(answer.content)


def pages(api: Api) -> tuple[Sequence[Figure], Sequence[str]]:
    """Each page's median, the slowest one, and the heaviest with what a browser loads beside it."""
    first = endpoint_id(ClientId(str(FIRST_CLIENT)), target_digest(target(0)))
    browser = signed_in(api, api.token(Role.OPERATOR))
    once = sum(path.stat().st_size for path in STATIC.iterdir())
    taken: dict[str, float] = {}
    sizes: dict[str, int] = {}
    second = next(link for link in browser.page("/endpoints").links if "cursor=" in link).removeprefix("/portal")
    for name, path in {
        "endpoints": "/endpoints",
        "endpoints_next": second,
        "endpoints_by_backlog": "/endpoints?sort=behind",
        "endpoints_healthy": "/endpoints?state=healthy",
        "endpoints_of_a_client": f"/endpoints?client={FIRST_CLIENT}",
        "endpoint": f"/endpoints/{first}",
        "drain": f"/endpoints/{first}/drain",
        "replays": "/replays",
        "replay": "/replays/1",
        "new_replay": "/replays/new",
        "dead_letters": "/dead-letters",
        "resend": "/dead-letters/resend",
        "audit": "/audit",
        "hooks": "/hooks",
        "hook": "/hooks/1",
        "attempts": "/hooks/1/attempts",
        "attempts_failed": "/hooks/1/attempts?outcome=failed",
        "events": "/events",
        "dead_letter": "/dead-letters/0-1",
    }.items():
        rounds = [visit(browser, path) for _ in range(ROUNDS + 1)]
        taken[name] = median(ms for ms, _ in rounds[1:])
        sizes[name] = rounds[0][1]
    slowest, heaviest = max(taken, key=lambda name: taken[name]), max(sizes, key=lambda name: sizes[name])
    figures = [
        *(Figure(name=name, value=ms, unit="ms", at_most=BAR_MS) for name, ms in taken.items()),
        Figure(name="heaviest_page", value=sizes[heaviest] + once, unit="bytes", at_most=BAR_BYTES),
    ]
    weights = ", ".join(f"{name} {size / 1000:.1f}" for name, size in sorted(sizes.items(), key=lambda page: -page[1]))
    return figures, [
        f"the slowest page is {slowest}, the heaviest {heaviest}",
        f"kB of HTML: {weights}; {once / 1000:.1f} of style, script and icon, once",
    ]


if __name__ == "__main__":
    chosen = arguments(__doc__, SIZES)
    main("portal", chosen, lambda: measure(chosen))
