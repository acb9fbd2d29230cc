"""`hookstream token`: issuing, listing and revoking the tokens of the API, directly in the database."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from hookstream.processors import wall_clock
from hookstream.processors.cli.console import (
    CommandError,
    Json,
    fitted,
    note,
    say,
    say_json,
    shown_day,
    shown_time,
    table_lines,
    terminal_width,
)
from hookstream.processors.cli.json_shapes import client_object

from .lag_view import ago

if TYPE_CHECKING:
    from hookstream.subscriptions.tokens import TokenInfo

app = typer.Typer(help="Issue, list and revoke the API's tokens; works on the database directly.")

_DAY_MS = 24 * 3600 * 1000
_YEAR_DAYS = 365


class RoleName(StrEnum):
    """What a token may do: `Role` of the API, which is not imported for `--help`."""

    INTEGRATOR = "integrator"
    PLATFORM = "platform"
    OPERATOR = "operator"


@app.command("create")
def create(
    *,
    role: Annotated[
        RoleName,
        typer.Option(help="integrator: hooks of one client; platform: publishes events; operator: sees every client."),
    ],
    client: Annotated[str | None, typer.Option(help="The integrator's client; no other role has one.")] = None,
    name: Annotated[str, typer.Option(help="A name for the list and the audit.")] = "",
    days: Annotated[
        float | None,
        typer.Option(
            "--expires-in-days", min=0, help=f"How long it is valid; {_YEAR_DAYS} if not given, for ever with 0."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Issue a token and print it, once: only its hash is stored.

    The token alone goes to stdout: TOKEN=$(hookstream token create --role integrator --client 434).
    """
    from hookstream.processors.cli.actor import actor
    from hookstream.processors.cli.database import migrated_database
    from hookstream.processors.settings import Settings
    from hookstream.schemas.event import ClientId
    from hookstream.schemas.ids import IdKind
    from hookstream.subscriptions.database import transact
    from hookstream.subscriptions.models import Role
    from hookstream.subscriptions.tokens import TokenRequest, issue_token

    now_ms = wall_clock.now_ms()
    settings = Settings.read()
    if client is not None and not settings.client_ids.takes(settings.client_ids.read(client)):
        kind = settings.client_ids
        hint = "; for texts, set HOOKSTREAM_CLIENT_IDS=string" if kind is IdKind.INTEGER else ""
        raise typer.BadParameter(f"--client is not {kind.meaning}{hint}")
    try:
        request = TokenRequest(
            role=Role(role.value),
            client=None if client is None else ClientId(client),
            name=name or (role.value if client is None else f"{role.value} of client {client}"),
            expires_at_ms=None if days == 0 else now_ms + round((days or _YEAR_DAYS) * _DAY_MS),
        )
    except ValueError as exc:
        raise typer.BadParameter(str(exc)) from None
    with migrated_database(settings.database()) as sessions:
        issued = transact(sessions, lambda session: issue_token(session, request, actor=actor(), now_ms=now_ms))
    if not days:
        note(f"warning: no expiry was set: it {_validity(issued.info)}; --expires-in-days sets another")
    if as_json:
        say_json({"token": issued.token, **_fields(issued.info)})
        return
    note(f"token {issued.info.id} ({issued.info.name}), {_validity(issued.info)}; it is not shown again:")
    say(issued.token)


@app.command("list")
def list_(*, as_json: Json = False) -> None:
    """List every token ever issued, oldest first, without the tokens themselves.

    A use is shown some twenty seconds after it at the latest, and to the minute.
    """
    from hookstream.processors.cli.database import migrated_database
    from hookstream.subscriptions.database import reading
    from hookstream.subscriptions.tokens import list_tokens

    with migrated_database(_url()) as sessions, reading(sessions) as session:
        tokens = list_tokens(session)
    if as_json:
        say_json([_fields(token) for token in tokens])
        return
    now_ms = wall_clock.now_ms()
    rows = [
        (
            token.id,
            token.role.value,
            token.client,
            shown_day(token.created_at_ms),
            "-" if token.last_used_at_ms is None else f"{ago(now_ms, token.last_used_at_ms)} ago",
            _end(token, now_ms),
            token.name,
        )
        for token in tokens
    ]
    head = ("id", "role", "client", "created", "last used", "expires", "name")
    for line in fitted(table_lines(head, rows), terminal_width()):
        say(line)


@app.command("revoke")
def revoke(
    token_id: Annotated[int, typer.Argument(metavar="ID", min=1, help="Its id in `token list`.")],
    *,
    as_json: Json = False,
) -> None:
    """Withdraw a token: within five seconds it opens nothing any more. A second time changes nothing."""
    from hookstream.processors.cli.actor import actor
    from hookstream.processors.cli.database import migrated_database
    from hookstream.subscriptions.database import transact
    from hookstream.subscriptions.errors import UnknownTokenError
    from hookstream.subscriptions.tokens import revoke_token

    now_ms = wall_clock.now_ms()
    with migrated_database(_url()) as sessions:
        try:
            info = transact(sessions, lambda session: revoke_token(session, token_id, actor=actor(), now_ms=now_ms))
        except UnknownTokenError:
            message = f"there is no token {token_id}"
            raise CommandError(message) from None
    if as_json:
        say_json(_fields(info))
    else:
        say(f"token {info.id} ({info.name}) is revoked")


def _url() -> str:
    from hookstream.processors.settings import Settings

    return Settings.read().database()


def _validity(info: TokenInfo) -> str:
    return "never expires" if info.expires_at_ms is None else f"expires {shown_time(info.expires_at_ms)}"


def _end(token: TokenInfo, now_ms: int) -> str:
    """Until when it opens anything, or why it does not."""
    if token.revoked_at_ms is not None:
        return "revoked"
    if token.expires_at_ms is None:
        return "never"
    return "expired" if token.expires_at_ms <= now_ms else shown_day(token.expires_at_ms)


def _fields(info: TokenInfo) -> dict[str, object]:
    from hookstream.processors.settings import Settings

    return {
        "id": info.id,
        "role": info.role.value,
        "client": client_object(None if info.client is None else Settings.read().client_ids.shown(info.client)),
        "name": info.name,
        "created_at_ms": info.created_at_ms,
        "last_used_at_ms": info.last_used_at_ms,
        "expires_at_ms": info.expires_at_ms,
        "revoked_at_ms": info.revoked_at_ms,
    }
