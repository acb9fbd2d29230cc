"""`hookstream up` at work: the embedded roles on a folder that outlives them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import orjson

from hookstream.processors import logs
from hookstream.processors.cli.console import say
from hookstream.processors.cli.roles.api import now_ms
from hookstream.processors.cli.roles.process import listen
from hookstream.processors.errors import StoppedError
from hookstream.processors.lifecycle import StopSignal
from hookstream.processors.settings import Settings
from hookstream.schemas.event import ClientId, EventName
from hookstream.schemas.hook import HookId
from hookstream.schemas.ids import INTEGERS, IdKinds
from hookstream.subscriptions.database import open_sessions, reading, transact
from hookstream.subscriptions.models import Role
from hookstream.subscriptions.repository import HookQuery, HookRepository, last_hook_id
from hookstream.subscriptions.tokens import TokenRequest, issue_token

from .embedded_roles import Embedded, embedded_roles
from .home import Home

_CLIENT = ClientId("434")
_IDS = (_CLIENT, "17")
# What the README begins with, where the catalogue has it.
_FIRST = EventName("lead.new")
_PORT = 9000
# One an event; a folder may hold hooks of other catalogues, too.
_MOST_HOOKS = 10_000
_LOOK_S = 0.2


def run_up(home: Home, settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        CommandError: the folder or the port is taken, or a role did not start.
        Exception: what one of the roles failed with.
    """
    logs.configure(level=settings.log_level, form=settings.log_format)
    stop = StopSignal()
    stop.catch_signals()
    with (
        home.opened(),
        listen(settings.api_host, settings.api_port) as listener,
        embedded_roles(
            settings, database_url=home.database_url, secret_key=home.secret_key(), listener=listener, stop=stop
        ) as embedded,
    ):
        if not home.tokens_file.exists():
            _issue_tokens(home, embedded)
        try:
            embedded.wait_ready()
        except StoppedError:
            return
        _print_result(home, embedded)
        while not stop.wait(_LOOK_S):
            pass


def _issue_tokens(home: Home, embedded: Embedded) -> None:
    """Make a token of each role, at the first start, for the folder alone: a terminal is read by others, and logged."""
    sessions = open_sessions(embedded.engine)
    tokens = {}
    for role in Role:
        whose = _CLIENT if role is Role.INTEGRATOR else None
        request = TokenRequest(role=role, client=whose, name="hookstream up", expires_at_ms=None)

        def issue(request: TokenRequest = request) -> str:
            return transact(sessions, lambda session: issue_token(session, request, now_ms=now_ms())).token

        tokens[f"{role.value.upper()}_TOKEN"] = issue()
    home.write_tokens(tokens)


def _print_result(home: Home, embedded: Embedded) -> None:
    """Say where it is and what to type; the commands work as they are printed."""
    api_url = embedded.api_url
    say(f"hookstream is up: {api_url} (docs at {api_url}/docs), state in {home.tokens_file.parent}/")
    say("Kafka is in memory here: hooks are kept, events that are not delivered yet do not outlive this process.")
    say(f"A token of each role is in {home.tokens_file}, which only you may read.")
    events = embedded.deps.catalogue.written_names
    if not events:
        say(
            "Every event of this catalogue is written by another service, and Kafka is in memory: nothing arrives here."
        )
        return
    with reading(open_sessions(embedded.engine)) as session:
        hooks = HookRepository(session, actor="hookstream up", now_ms=now_ms())
        taken = {stored.hook.event for stored in hooks.list(HookQuery(client=_CLIENT, limit=_MOST_HOOKS))}
        hook_id = HookId(last_hook_id(session) + 1)
    example = Example.of(events, taken, hook_id)
    say("")
    example = replace(example, ids=embedded.deps.catalogue.id_kinds(example.event.partition(".")[0]))
    if example.hook_id is None:
        say(f"Every event has a hook. In another terminal, publish a {example.event}:")
    else:
        say(f"In another terminal, with something that listens on port {_PORT}:")
    say("")
    for command in commands(str(home.tokens_file), api_url, example):
        for line in command.splitlines():
            say(line)
    say("")
    say("Ctrl-C stops it.")


@dataclass(frozen=True, slots=True)
class Example:
    """An event, and the id that its hook will get; None: it has one."""

    event: EventName
    hook_id: HookId | None
    ids: IdKinds = INTEGERS

    @classmethod
    def of(cls, events: Sequence[EventName], taken: Collection[EventName], next_id: HookId) -> Example:
        """An event of the catalogue that has no hook yet, if there is one: a second hook for one is refused."""
        free = [event for event in events if event not in taken]
        if not free:
            return cls(events[0], None)
        return cls(_FIRST if _FIRST in free else free[0], next_id)


def commands(tokens_file: str, api_url: str, example: Example) -> list[str]:
    """Register a hook, wait until every router knows it, publish an event: as typed into a shell."""
    json = "-H 'content-type: application/json'"
    integrator, platform = '-H "Authorization: Bearer $INTEGRATOR_TOKEN"', '-H "Authorization: Bearer $PLATFORM_TOKEN"'
    hook = f'{{"hook": {{"event": "{example.event}", "target": "http://127.0.0.1:{_PORT}/{example.event}"}}}}'
    client, concept = (orjson.dumps(kind.shown(text)).decode() for kind, text in zip(example.ids, _IDS, strict=True))
    event = f'{{"event": "{example.event}", "client": {client}, "concept": {{"id": {concept}}}}}'
    waits = (
        f"until curl -s {api_url}/hooks/{example.hook_id} {integrator} | grep '\"effective\":true'; do sleep 0.1; done"
    )
    register = [f"curl -s -X POST {api_url}/hooks {integrator} {json} \\\n  -d '{hook}'", waits]
    return [
        f". {tokens_file if '/' in tokens_file else './' + tokens_file}",
        *([] if example.hook_id is None else register),
        f"curl -s -X POST {api_url}/events {platform} {json} \\\n  -d '{event}'",
    ]
