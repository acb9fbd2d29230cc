"""`hookstream up` at work: the embedded roles on a folder that outlives them."""

from __future__ import annotations

from hookstream.processors import logs
from hookstream.processors.cli.console import say
from hookstream.processors.cli.roles.api import now_ms
from hookstream.processors.cli.roles.process import listen
from hookstream.processors.errors import StoppedError
from hookstream.processors.lifecycle import StopSignal
from hookstream.processors.settings import Settings
from hookstream.schemas.event import ClientId
from hookstream.subscriptions.database import open_sessions, transact
from hookstream.subscriptions.models import Role
from hookstream.subscriptions.tokens import TokenRequest, issue_token

from .embedded_roles import Embedded, embedded_roles
from .home import Home

_CLIENT = ClientId(434)
_LOOK_S = 0.2

_TARGET = "http://127.0.0.1:9000/leads"


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
        tokens = None if home.tokens_file.exists() else _issue_tokens(home, embedded)
        try:
            embedded.wait_ready()
        except StoppedError:
            return
        _tell(home, embedded.api_url, tokens)
        while not stop.wait(_LOOK_S):
            pass


def _issue_tokens(home: Home, embedded: Embedded) -> dict[str, str]:
    """Make a token of each role, at the first start."""
    sessions = open_sessions(embedded.engine)
    tokens = {}
    for role in Role:
        whose = _CLIENT if role is Role.INTEGRATOR else None
        request = TokenRequest(role=role, client=whose, name="hookstream up", expires_at_ms=None)

        def issue(request: TokenRequest = request) -> str:
            return transact(sessions, lambda session: issue_token(session, request, now_ms=now_ms())).token

        tokens[f"{role.value.upper()}_TOKEN"] = issue()
    home.write_tokens(tokens)
    return tokens


def _tell(home: Home, api_url: str, tokens: dict[str, str] | None) -> None:
    """Say where it is and what to type; the commands work as they are printed."""
    say(f"hookstream is up: {api_url} (docs at {api_url}/docs), state in {home.tokens_file.parent}/")
    say("Kafka is in memory here: hooks are kept, events that are not delivered yet do not outlive this process.")
    if tokens is not None:
        say("\nNew tokens, kept in the file below:")
        for name, token in tokens.items():
            say(f"  {name}={token}")
    say("\nIn another terminal, with something that listens on port 9000:\n")
    for command in commands(str(home.tokens_file), api_url):
        say(command)
    say("\nCtrl-C stops it.")


def commands(tokens_file: str, api_url: str) -> list[str]:
    """Register the first hook, wait until every router knows it, publish an event: as typed into a shell."""
    json = "-H 'content-type: application/json'"
    integrator, platform = '-H "Authorization: Bearer $INTEGRATOR_TOKEN"', '-H "Authorization: Bearer $PLATFORM_TOKEN"'
    hook = f'{{"hook": {{"event": "lead.new", "target": "{_TARGET}"}}}}'
    event = f'{{"event": "lead.new", "client": {_CLIENT}, "concept": {{"id": 17}}}}'
    return [
        f". {tokens_file if '/' in tokens_file else './' + tokens_file}",
        f"curl -s -X POST {api_url}/hooks {integrator} {json} \\\n  -d '{hook}'",
        f"until curl -s {api_url}/hooks/1 {integrator} | grep '\"effective\":true'; do sleep 0.1; done",
        f"curl -s -X POST {api_url}/events {platform} {json} \\\n  -d '{event}'",
    ]
