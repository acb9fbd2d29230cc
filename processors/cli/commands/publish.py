"""`hookstream publish`: events from the shell, straight to Kafka."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from hookstream.processors.cli.console import DEFAULT_WAIT_S, Json, Wait, note, say, say_json
from hookstream.processors.wall_clock import now_ms

if TYPE_CHECKING:
    from hookstream.processors.settings import Settings
    from hookstream.producers.event_producer import EventProducer
    from hookstream.schemas.catalogue import Catalogue

    from .publish_file import Published

_FAILED = 1
# A healthy Kafka may take this long for a first event.
_SHORTEST_WAIT_S = 1.0


def publish(  # noqa: PLR0913  # options of a command, all by name
    event: Annotated[str | None, typer.Argument(metavar="EVENT", help="Such as lead.new; or use --file.")] = None,
    *,
    client: Annotated[str | None, typer.Option(help="The client whose event it is.")] = None,
    concept_id: Annotated[str | None, typer.Option("--id", help="Id of the resource, such as a lead.")] = None,
    sub_namespace: Annotated[str | None, typer.Option(help="Kind of the concept, where it has one.")] = None,
    data: Annotated[
        str | None, typer.Option(metavar="JSON|@FILE", help="What the event says of it, where its schema has data.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option(metavar="F.jsonl", help="A JSON object a line; `-` is standard input.")
    ] = None,
    rate: Annotated[float | None, typer.Option(min=0.001, help="Events a second, at most; with --file.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything and send nothing.")] = False,
    wait_s: Wait = DEFAULT_WAIT_S,
    as_json: Json = False,
) -> None:
    """Publish one event, or a file of them. An event counts as accepted when Kafka has acknowledged it.

    hookstream publish lead.new --client 434 --id 17

    hookstream publish --file events.jsonl --rate 200

    A line is {"event": "lead.new", "client": 434, "concept": {"id": 17}}; concept may have a sub_namespace, and the
    line an id (UUID), occurred_at_ms and data. With ids a file can be published again: its deliveries have the
    same ids again. Wrong lines are named by number; the others are sent. The exit code is 1 if any failed.
    """
    if (event is None) == (file is None):
        raise typer.BadParameter("give either an EVENT or --file")
    if file is not None:
        if any(given is not None for given in (client, concept_id, sub_namespace, data)):
            raise typer.BadParameter("--client, --id, --sub-namespace and --data are in the lines of --file")
        published = _publish_file(file, rate=rate, dry_run=dry_run, wait_s=wait_s, quiet=as_json)
        _print_result(published, dry_run=dry_run, as_json=as_json)
        return
    if client is None or concept_id is None or rate is not None:
        raise typer.BadParameter("one event needs --client and --id, and has no --rate")
    _publish_one(
        {
            "event": event,
            "client": client,
            "concept": {"id": concept_id, "sub_namespace": sub_namespace},
            "data": None if data is None else _json(data),
        },
        dry_run=dry_run,
        wait_s=wait_s,
        as_json=as_json,
    )


def _publish_one(fields: dict[str, Any], *, dry_run: bool, wait_s: float, as_json: bool) -> None:
    from hookstream.schemas.errors import SchemaError

    from .publish_file import event_of_fields

    catalogue = _settings(dry_run=True).catalogue()
    try:
        event = event_of_fields(_as_declared(fields, catalogue), catalogue, now_ms=now_ms())
    except SchemaError as exc:
        raise typer.BadParameter(str(exc)) from None
    if dry_run:
        if as_json:
            say_json({"id": str(event.id), "topic": None, "partition": None, "offset": None, "dry_run": True})
        else:
            say(f"{event.name} of client {event.client} is valid; nothing was sent")
        return
    with _producer(_settings(dry_run=False), wait_s) as producer:
        producer.warm_up(event.concept.namespace)
        receipt = producer.produce(event).result()
    if as_json:
        position = {"topic": receipt.topic, "partition": receipt.partition, "offset": receipt.offset}
        say_json({"id": str(event.id), **position, "dry_run": False})
    else:
        say(f"accepted {event.name} {event.id} at {receipt.topic}:{receipt.partition}:{receipt.offset}")


def _json(given: str) -> object:
    """The JSON of an option, or of the file that it names.

    Raises:
        BadParameter: it is none.
    """
    try:
        return orjson.loads(Path(given[1:]).read_bytes() if given.startswith("@") else given)
    except OSError as exc:
        raise typer.BadParameter(f"--data: cannot read {given[1:]}: {exc.strerror}") from None
    except orjson.JSONDecodeError as exc:
        raise typer.BadParameter(f"--data: not JSON: {exc.msg} at column {exc.colno}") from None


def _as_declared(fields: dict[str, Any], catalogue: Catalogue) -> dict[str, object]:
    """The fields with ids of the kinds that the event's schema declares: a shell knows text alone."""
    ids = catalogue.id_kinds(fields["event"].partition(".")[0])
    concept = {**fields["concept"], "id": ids.concept.read(fields["concept"]["id"])}
    return {**fields, "client": ids.client.read(fields["client"]), "concept": concept}


def _publish_file(file: Path, *, rate: float | None, dry_run: bool, wait_s: float, quiet: bool) -> Published:
    from contextlib import ExitStack

    from .publish_file import FilePublisher, Pace, open_lines, progress_for

    settings = _settings(dry_run=dry_run)
    with ExitStack() as stack:
        lines, total_bytes = stack.enter_context(open_lines(file))
        producer = None if dry_run else stack.enter_context(_producer(settings, wait_s))
        progress = stack.enter_context(progress_for(total_bytes, quiet=quiet))
        catalogue = settings.catalogue()
        return FilePublisher(producer, catalogue, pace=Pace(rate), progress=progress, now_ms=now_ms).run(lines)


def _print_result(published: Published, *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        failures = [{"line": line, "reason": reason} for line, reason in published.failures]
        say_json({"accepted": published.accepted, "failed": len(failures), "failures": failures, "dry_run": dry_run})
    else:
        for line, reason in published.failures:
            note(f"line {line}: {reason}")
        said = "valid" if dry_run else "accepted"
        say(f"{said} {published.accepted}, failed {len(published.failures)}")
    if published.failures:
        raise typer.Exit(_FAILED)


def _settings(*, dry_run: bool) -> Settings:
    from hookstream.processors.settings import Settings

    return Settings.read() if dry_run else Settings.read("kafka_bootstrap_servers", "schema_registry_url")


def _producer(settings: Settings, wait_s: float) -> EventProducer:
    from hookstream.processors import logs
    from hookstream.processors.cli.deps import event_producer, real_deps

    logs.configure(level="warning")
    deadline_s = max(wait_s, _SHORTEST_WAIT_S)
    return event_producer(
        real_deps(settings), source="/hookstream/publish", deadline_s=deadline_s, message_timeout_s=deadline_s
    )
