"""The command `hookstream`: its groups, and what an error means to the shell.

0: done. 1: it failed, with one line on stderr that says why. 2: called wrongly, or a setting is missing or wrong.

What a command needs is imported when it runs, so that `--help` and a typing error answer at once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

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
from .roles import commands as roles
from .trial import demo, listen, up
from .version import installed

EXIT_FAILED = 1
EXIT_USAGE = 2
_EXIT_INTERRUPTED = 130

app = typer.Typer(
    name="hookstream",
    help="Webhooks delivered straight from the Kafka log. Settings are environment variables: docs/settings.md.",
    add_completion=False,
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


app.command("demo", short_help="Send every event to an endpoint, and check each delivery.")(demo.demo)
app.command("up", short_help="Run everything in one process, to try hookstream out.")(up.up)
app.command("listen", short_help="Receive deliveries, verify and print them, misbehave on request.")(listen.listen)
app.add_typer(topics.app, name="topics", short_help="Create and check topics and schemas.")
app.add_typer(events.app, name="events", short_help="Write and check the schemas of your own domain.")
app.command("migrate", short_help="Migrate the database to this release's schema.")(migrate.migrate)
app.add_typer(tokens.app, name="token", short_help="Issue, list and revoke tokens of the API.")
app.command("api", short_help="Role: serves the API and relays its changes.")(roles.api)
app.command("router", short_help="Role: joins events with hooks.")(roles.router)
app.command("deliver", short_help="Role: posts deliveries to their targets.")(roles.deliver)
app.command("attempt-log", short_help="Role: writes the result of each request to the database.")(roles.attempt_log)
app.command("replayer", short_help="Role: counts and sends replays.")(roles.replayer)
app.command("outbox-relay", short_help="Role: sends the outbox of a service.")(roles.outbox_relay)
app.command("publish", short_help="Publish one event, or a file of them.")(publish.publish)
app.add_typer(subscriptions.app, name="subscriptions", short_help="Make the database and the topic of hooks agree.")
app.add_typer(secrets.app, name="secrets", short_help="Rotate the master key.")
app.command("recover", short_help="Repair partitions that workers refuse to start.")(recover.recover)
app.add_typer(replay.app, name="replay", short_help="Send a window of the log again.")
app.add_typer(hooks.app, name="hooks", short_help="Register, show, change, ping and delete hooks.")
app.add_typer(endpoint_views.app, name="endpoints", short_help="Show endpoints, their hooks and their settings.")
app.command("retry-now", short_help="Attempt the pending deliveries of an endpoint at once.")(endpoints.retry_now)
app.command("skip", short_help="Move one delivery to the dead letters.")(endpoints.skip)
app.command("pause", short_help="Send nothing to an endpoint.")(endpoints.pause)
app.command("resume", short_help="Send to a paused endpoint again.")(endpoints.resume)
app.command("drain", short_help="Move the backlog of an endpoint to the dead letters.")(endpoints.drain)
app.add_typer(dead_letters.app, name="dead-letters", short_help="Show what could not be delivered, and send it again.")
app.add_typer(deliveries.app, name="deliveries", short_help="Show the state of a delivery, and send it again.")
app.command("audit", short_help="Show who did what.")(audit.audit)
app.command("lag", short_help="Show the backlog and the state of each endpoint.")(lag.lag)


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
