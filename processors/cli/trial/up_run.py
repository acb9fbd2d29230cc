"""`hookstream up` at work: the embedded roles on a folder that outlives them."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Final

from sqlalchemy.orm import Session

from hookstream.processors import logs
from hookstream.processors.cli.console import say
from hookstream.processors.cli.roles.process import listen
from hookstream.processors.errors import StoppedError
from hookstream.processors.lifecycle import StopSignal
from hookstream.processors.settings import Settings, variable
from hookstream.processors.wall_clock import now_ms
from hookstream.subscriptions.database import Sessions, open_sessions, reading, transact
from hookstream.subscriptions.errors import TokenError
from hookstream.subscriptions.models import Role
from hookstream.subscriptions.portal_sessions import create_link
from hookstream.subscriptions.tokens import TokenRequest, authenticate, issue_token

from .embedded_roles import Embedded, Listeners, embedded_roles
from .home import Home
from .up_example import CLIENT, commands, example_of

_LOOK_S = 0.2
_LINK_S = 3600
_NAMES: Final = {role: f"{role.value.upper()}_TOKEN" for role in Role}


def run_up(home: Home, settings: Settings, *, kafka_port: int | None, registry_port: int) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        CommandError: the folder or a port is taken, or a role did not start.
        Exception: what one of the roles failed with.
    """
    logs.configure(level=_log_level(settings), form=settings.log_format)
    stop = StopSignal()
    stop.catch_signals()
    with ExitStack() as stack:
        stack.enter_context(home.opened())
        listeners = Listeners(
            api=stack.enter_context(listen(settings.api_host, settings.api_port)),
            registry=stack.enter_context(listen("127.0.0.1", registry_port, chosen_by="--registry-port")),
            kafka=(
                None
                if kafka_port is None
                else stack.enter_context(listen("127.0.0.1", kafka_port, chosen_by="--kafka-port"))
            ),
        )
        embedded = stack.enter_context(
            embedded_roles(
                settings, database_url=home.database_url, secret_key=home.secret_key(), listeners=listeners, stop=stop
            )
        )
        _write_variables(home, embedded)
        try:
            embedded.wait_ready()
        except StoppedError:
            return
        _print_result(home, embedded)
        while not stop.wait(_LOOK_S):
            pass


def _log_level(settings: Settings) -> str:
    """As it was set; else nothing but warnings: what people type next is to stay in sight."""
    return settings.log_level if "log_level" in settings.model_fields_set else "warning"


def _write_variables(home: Home, embedded: Embedded) -> None:
    """A token of each role, and where everything is, for the folder alone: a terminal is read by others, and logged.

    Tokens that the database still knows are kept; the others are issued anew.
    """
    sessions, settings, kept = open_sessions(embedded.engine), embedded.deps.settings, home.variables()
    valid = {role: kept[name] for role, name in _NAMES.items() if _is_valid(sessions, kept.get(name, ""), role)}
    if not valid:
        home.write_hook_secrets({})  # of hooks of another database, if of any
    tokens = {role: valid.get(role) or _issue(sessions, role) for role in Role}
    home.write_variables(
        {
            **{_NAMES[role]: token for role, token in tokens.items()},
            variable("api_url"): embedded.api_url,
            variable("api_token"): tokens[Role.OPERATOR],
            variable("kafka_bootstrap_servers"): embedded.bootstrap_servers,
            variable("schema_registry_url"): embedded.registry_url or "",
            **({} if settings.schema_dir is None else {variable("schema_dir"): str(settings.schema_dir.resolve())}),
            **({} if "client_ids" not in settings.model_fields_set else {variable("client_ids"): settings.client_ids}),
        }
    )


def _is_valid(sessions: Sessions, token: str, role: Role) -> bool:
    try:
        with reading(sessions) as session:
            return authenticate(session, token, now_ms=now_ms()).role is role
    except TokenError:
        return False


def _issue(sessions: Sessions, role: Role) -> str:
    whose = CLIENT if role is Role.INTEGRATOR else None
    request = TokenRequest(role=role, client=whose, name="hookstream up", expires_at_ms=None)
    return transact(
        sessions, lambda session: issue_token(session, request, actor="hookstream up", now_ms=now_ms())
    ).token


def _link(sessions: Sessions, platform_token: str) -> str:
    """Path of a link that lets one person into the portal as the example's client, once within the hour."""

    def make(session: Session) -> str:
        issuer = authenticate(session, platform_token, now_ms=now_ms())
        return create_link(session, issuer, CLIENT, lifetime_s=_LINK_S, now_ms=now_ms()).key

    return f"/portal/enter/{transact(sessions, make)}"


def _print_result(home: Home, embedded: Embedded) -> None:
    """Say where it is and what to type; the commands work as they are printed."""
    link = _link(open_sessions(embedded.engine), home.variables()[_NAMES[Role.PLATFORM]])
    say(f"hookstream is up: {embedded.api_url} (docs at {embedded.api_url}/docs)")
    say("")
    say(f"  portal           {embedded.api_url}/portal, where OPERATOR_TOKEN or INTEGRATOR_TOKEN signs you in")
    say(f"  as client {CLIENT:<6} {embedded.api_url}{link}, once within an hour")
    say(f"  Kafka            {embedded.bootstrap_servers}")
    say(f"  schema registry  {embedded.registry_url}")
    say(f"  state            {home.tokens_file.parent}/: hooks are kept")
    say(f"  tokens           {home.tokens_file}, which only you may read: one of each role")
    say("")
    say("Kafka is in memory here: events that are not delivered yet do not outlive this process.")
    _print_example(home, embedded)
    say("Ctrl-C stops it.")


def _print_example(home: Home, embedded: Embedded) -> None:
    example = example_of(embedded.deps.catalogue)
    if example is None:
        say("Every event of this catalogue is written by another service: produce to its topic here, and receive its")
        say("deliveries with `hookstream listen --event NAME`.")
        return
    receive, *publish = commands(str(home.tokens_file), example)
    say(f"In another terminal, receive the deliveries of {example.event}:")
    say("")
    say(f"  {receive}")
    say("")
    say("In a third one, publish an event:")
    say("")
    for command in publish:
        say(f"  {command}")
    say("")
