"""The command `hookstream`: its groups, and what an error means to the shell.

0: done. 1: it failed, with one line on stderr that says why. 2: called wrongly, or a setting is missing or wrong.

What a command needs is imported when it runs, so that `--help` and a typing error answer at once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Final

import typer
from typer.exceptions import TyperException

from hookstream.processors.errors import ProcessorError, SettingsError
from hookstream.producers.errors import ProducerConfigError, ProducerError
from hookstream.schemas.errors import InvalidSchemaError, SchemaError
from hookstream.subscriptions.errors import SubscriptionsError

from .commands import (
    audit,
    dead_letters,
    deliveries,
    endpoint_views,
    endpoints,
    events,
    hooks,
    lag,
    migrate,
    publish,
    recover,
    replay,
    secrets,
    subscriptions,
    tokens,
    topics,
)
from .console import CommandError, complain, escape_unencodable, say
from .help_panels import GroupWithPanels, Panel
from .roles import commands as roles
from .trial import demo, listen, up
from .version import installed

EXIT_FAILED = 1
EXIT_USAGE = 2
_EXIT_INTERRUPTED = 130

app = typer.Typer(
    name="hookstream",
    cls=GroupWithPanels,
    help="Webhooks delivered straight from the Kafka log. Settings are environment variables: docs/settings.md.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        say(installed())
        raise typer.Exit


@app.callback()
def _options(
    *,
    version_: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Print the version and whether it is compiled, and exit.",
            is_eager=True,
            callback=_print_version,
        ),
    ] = False,
) -> None:
    del version_  # its callback has done what there is to do


# In the order in which the help shows them: within a panel, commands before groups of them.
_COMMANDS: Final[Mapping[Panel, Sequence[tuple[str, Callable[..., None] | typer.Typer, str]]]] = {
    Panel.TRY: (
        ("demo", demo.demo, "Send every event to an endpoint, and check each delivery."),
        ("up", up.up, "Run everything in one process, to try hookstream out."),
        ("listen", listen.listen, "Receive deliveries, verify and print them, misbehave on request."),
    ),
    Panel.SET_UP: (
        ("topics", topics.app, "Create and check topics and schemas."),
        ("events", events.app, "Write and check the schemas of your own domain."),
        ("migrate", migrate.migrate, "Migrate the database to this release's schema."),
        ("token", tokens.app, "Issue, list and revoke tokens of the API."),
    ),
    Panel.ROLES: (
        ("api", roles.api, "Serve the API and relay its changes."),
        ("router", roles.router, "Join events with hooks."),
        ("deliver", roles.deliver, "Post deliveries to their targets."),
        ("attempt-log", roles.attempt_log, "Write the result of each request to the database."),
        ("replayer", roles.replayer, "Count and send replays."),
        ("outbox-relay", roles.outbox_relay, "Send the outbox of a service."),
    ),
    Panel.HOOKS: (
        ("publish", publish.publish, "Publish one event, or a file of them."),
        ("hooks", hooks.app, "Register, show, change, ping and delete hooks."),
        ("endpoints", endpoint_views.app, "Show endpoints, their hooks and their settings."),
        ("deliveries", deliveries.app, "Show the state of a delivery, and send it again."),
    ),
    Panel.OUTAGE: (
        ("lag", lag.lag, "Show the backlog and the state of each endpoint."),
        ("pause", endpoints.pause, "Send nothing to an endpoint."),
        ("resume", endpoints.resume, "Send to a paused endpoint again."),
        ("retry-now", endpoints.retry_now, "Attempt the pending deliveries of an endpoint at once."),
        ("skip", endpoints.skip, "Move one delivery to the dead letters."),
        ("drain", endpoints.drain, "Move the backlog of an endpoint to the dead letters."),
        ("replay", replay.app, "Send a window of the log again."),
        ("dead-letters", dead_letters.app, "Show what could not be delivered, and send it again."),
    ),
    Panel.CARE: (
        ("audit", audit.audit, "Show who did what."),
        ("recover", recover.recover, "Repair partitions that workers refuse to start."),
        ("secrets", secrets.app, "Rotate the master key."),
        ("subscriptions", subscriptions.app, "Make the database and the topic of hooks agree."),
    ),
}
for _panel, _known in _COMMANDS.items():
    for _name, _what, _sentence in _known:
        if isinstance(_what, typer.Typer):
            app.add_typer(_what, name=_name, cls=GroupWithPanels, short_help=_sentence, rich_help_panel=_panel.value)
        else:
            app.command(_name, short_help=_sentence, rich_help_panel=_panel.value)(_what)


def main() -> None:
    """Run the command line and end the process."""
    escape_unencodable()
    sys.exit(run(sys.argv[1:]))


def run(args: Sequence[str]) -> int:
    """Run one command and give its exit code; every error that is no defect of ours becomes one line on stderr."""
    try:
        code = app(list(args) or ["--help"], prog_name="hookstream", standalone_mode=False)
    except TyperException as exc:
        return complain(exc.format_message() + _where_help_is(exc), exc.exit_code)
    except (SettingsError, InvalidSchemaError, ProducerConfigError) as exc:
        return complain(str(exc), EXIT_USAGE)
    except (CommandError, ProcessorError, ProducerError, SchemaError, SubscriptionsError) as exc:
        return complain(str(exc) or type(exc).__name__, EXIT_FAILED)
    except BrokenPipeError:  # whoever read our output has seen enough
        sys.stdout = sys.stderr
        return EXIT_FAILED
    except (typer.Abort, KeyboardInterrupt):
        return _EXIT_INTERRUPTED
    return code if isinstance(code, int) else 0


def _where_help_is(exc: TyperException) -> str:
    context = getattr(exc, "ctx", None)
    return "" if context is None else f" (see `{context.command_path} --help`)"
