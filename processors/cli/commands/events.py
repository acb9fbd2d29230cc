"""`hookstream events`: a domain of one's own: writing a first schema, and judging a folder of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hookstream.processors.cli.console import CommandError, Json, note, say, say_json

if TYPE_CHECKING:
    from hookstream.processors.settings import Settings
    from hookstream.schemas.event_types import EventType

app = typer.Typer(help="Write and check the schemas of your own domain.")


class Ids(StrEnum):
    """What clients and resources are identified by."""

    INTEGER = "integer"
    STRING = "string"


@app.command("new")
def new(  # options of a command, all by name
    namespace: Annotated[str, typer.Argument(metavar="NAME", help="Kind of resource, such as order.")],
    symbols: Annotated[list[str], typer.Argument(metavar="SYMBOL...", help="What happens to it, such as placed.")],
    *,
    folder: Annotated[
        Path | None, typer.Option("--dir", help="The folder to write to. Default: HOOKSTREAM_SCHEMA_DIR.")
    ] = None,
    ids: Annotated[Ids, typer.Option(help="The type of the ids of clients and resources.")] = Ids.INTEGER,
    data: Annotated[bool, typer.Option("--data", help="Add a record for data, in which you name the fields.")] = False,
) -> None:
    """Write the schema of a new kind of resource to NAME.avsc; a file that is there is left alone.

    hookstream events new order placed shipped --dir schemas
    """
    from hookstream.processors.settings import Settings
    from hookstream.schemas.new_envelope import new_envelope

    path = folder or Settings.read().schema_dir
    if path is None:
        raise typer.BadParameter("say where: --dir, or HOOKSTREAM_SCHEMA_DIR")
    text = new_envelope(namespace, symbols, text_ids=ids is Ids.STRING, data=data)
    file = Path(path) / f"{namespace}.avsc"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("x", encoding="utf-8") as opened:
            opened.write(text)
    except FileExistsError as exc:
        raise CommandError(f"{file} is there already") from exc
    except OSError as exc:
        raise CommandError(f"cannot write {file}: {exc.strerror}") from exc
    say(f"wrote {file}: {', '.join(f'{namespace}.{symbol}' for symbol in symbols)}")


@app.command("check")
def check(
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="[DIR]", help="The folder. Default: HOOKSTREAM_SCHEMA_DIR, or the shipped one."),
    ] = None,
    *,
    sample: Annotated[
        str | None,
        typer.Option("--sample", metavar="TOPIC", help="Also show the latest records of this topic as events."),
    ] = None,
    count: Annotated[int, typer.Option("-n", min=1, max=100, help="How many records to show, with --sample.")] = 3,
    as_json: Json = False,
) -> None:
    """Say everything that is wrong with a folder of schemas, and print an example of each event's body; 1 if anything.

    Where HOOKSTREAM_SCHEMA_REGISTRY_URL and HOOKSTREAM_KAFKA_BOOTSTRAP_SERVERS are set, it is compared with the
    registry and with the topics that exist. Nothing is changed, and nothing is sent, with --sample either.
    """
    from hookstream.processors import logs
    from hookstream.processors.settings import Settings

    from .events_check import check_folder

    logs.configure(level="warning")
    settings = Settings.read()
    files = _files(folder, settings)
    checked = check_folder(files, settings, note)
    if as_json and sample is None:
        say_json({"events": [_shown(*each) for each in checked.events], "faults": list(checked.faults)})
    else:
        for topic, event in () if as_json else checked.events:
            say(f"{event.name}  {_shown(topic, event)['example']}")
        for fault in checked.faults:
            (note if as_json else say)(fault)
    refused = "" if sample is None else _sample(sample, count, settings, files, as_json=as_json)
    if checked.faults:
        raise CommandError(f"{_faults(len(checked.faults))}; events that are described: {len(checked.events)}")
    if refused:
        raise CommandError(refused)


def _shown(topic: str, event: EventType) -> dict[str, Any]:
    return {
        "name": event.name,
        "topic": topic,
        "description": event.description,
        "since": event.since,
        "example": json.dumps(event.example, ensure_ascii=False, separators=(",", ":")),
        "json_schema": event.body.whole(),
    }


def _faults(count: int) -> str:
    return "1 fault" if count == 1 else f"{count} faults"


def _sample(topic: str, count: int, settings: Settings, files: Mapping[str, bytes], *, as_json: bool) -> str:
    """Show records of a topic, also where the folder has a fault elsewhere; give what is wrong with the records."""
    from hookstream.processors.operations.queries.latest_records import latest_records
    from hookstream.schemas.catalogue import Catalogue
    from hookstream.schemas.folder import judge_folder

    from .events_sample import WhenAsked, sampled, topic_reader

    topics = settings.topics()
    with WhenAsked(settings.registry_url) as writer_schemas:
        catalogue = Catalogue.from_folder(judge_folder(files, topics))
        reader = topic_reader(topic, catalogue, topics, writer_schemas)
        shown = [sampled(record, reader) for record in latest_records(settings.kafka(), topic, count)]
    if reader.undelivered:
        lost = ", ".join(dict.fromkeys(reader.undelivered))
        note(f"fields of the records that no event has, and that are not delivered: {lost}")
    if as_json:
        say_json([asdict(record) for record in shown])
    else:
        for record in shown:
            for line in record.lines():
                say(line)
        if not shown:
            note(f"{topic} holds no records")
    refused = sum(record.result == "refused" for record in shown)
    return f"{refused} of {len(shown)} records cannot be read: they would become dead letters" if refused else ""


def _files(folder: Path | None, settings: Settings) -> dict[str, bytes]:
    from hookstream.schemas.catalogue import Catalogue
    from hookstream.schemas.folder import ENVELOPE_SUFFIX, read_folder

    path = folder or settings.schema_dir
    if path is not None:
        return read_folder(Path(path))
    shipped = Catalogue.shipped()
    return {f"{name}{ENVELOPE_SUFFIX}": shipped.schema_text(name).encode() for name in shipped.envelopes}
