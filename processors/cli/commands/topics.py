"""`hookstream topics`: making the topics and schemas of a deployment, and looking whether they are right."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from hookstream.processors.cli.console import DEFAULT_WAIT_S, CommandError, Json, Wait, say, say_json

if TYPE_CHECKING:
    from hookstream.processors.settings import Settings
    from hookstream.processors.topic_specs import TopicSpec

app = typer.Typer(help="Create and check the topics and schemas of a deployment.")


@app.command("create")
def create(*, as_json: Json = False, wait_s: Wait = DEFAULT_WAIT_S) -> None:
    """Create the topics that are missing and register the schemas; what exists is checked and left alone.

    Needs HOOKSTREAM_KAFKA_BOOTSTRAP_SERVERS and HOOKSTREAM_SCHEMA_REGISTRY_URL. May be run as often as you like.
    """
    from hookstream.processors.cli.audited import audit_command
    from hookstream.processors.cli.waiting import waiter
    from hookstream.processors.topics import check_topics, create_topics, register_schemas
    from hookstream.producers.registry import SchemaRegistry

    settings, specs = _deployment()
    kafka, catalogue = settings.kafka(), settings.catalogue()
    wait_for = waiter(wait_s)
    with SchemaRegistry(settings.registry_url()) as registry:
        created = wait_for("kafka", lambda: create_topics(kafka, specs, replication_factor=settings.replication_factor))
        wait_for("schema registry", lambda: register_schemas(registry, catalogue, settings.topics()))
    audit_command("topics.create", {"created": created}, quiet=True)
    wait_for("kafka", lambda: check_topics(kafka, specs))  # what is merely weak is a line on stderr
    subjects = list(catalogue.subjects(settings.topics()))
    if as_json:
        say_json({"created": created, "topics": [spec.name for spec in specs], "subjects": subjects})
        return
    for spec in specs:
        say(f"{'created' if spec.name in created else 'exists '}  {spec.name}")
    say(f"{len(subjects)} schemas registered")


@app.command("check")
def check(*, as_json: Json = False, wait_s: Wait = DEFAULT_WAIT_S) -> None:
    """Say whether topics and schemas are what the code relies on, and which command repairs each difference; 1 if not.

    A topic of sources.toml has to exist, and its latest schema to have what its table names.
    Needs HOOKSTREAM_KAFKA_BOOTSTRAP_SERVERS and HOOKSTREAM_SCHEMA_REGISTRY_URL. Every role that starts looks at the
    topics too: it refuses what loses order or records, and logs the rest.
    """
    from hookstream.processors.cli.waiting import waiter
    from hookstream.processors.source_topics import latest_schemas, missing_topics, unfit_schemas
    from hookstream.processors.topics import judge_schemas, judge_topics
    from hookstream.producers.registry import SchemaRegistry

    settings, specs = _deployment()
    kafka, catalogue, names = settings.kafka(), settings.catalogue(), settings.topics()
    wait_for = waiter(wait_s)
    sources = catalogue.sources
    complaints = [complaint.text for complaint in wait_for("kafka", lambda: judge_topics(kafka, specs))]
    complaints += wait_for("kafka", lambda: missing_topics(kafka, sources, names))
    with SchemaRegistry(settings.registry_url()) as registry:
        complaints += wait_for("schema registry", lambda: judge_schemas(registry, catalogue, names))
        latest = wait_for("schema registry", lambda: latest_schemas(registry, sources, names))
        complaints += [*latest.faults, *unfit_schemas(sources, latest.texts)]
    subjects = list(catalogue.subjects(names))
    if as_json:
        say_json({"topics": [spec.name for spec in specs], "subjects": subjects, "complaints": complaints})
    else:
        for complaint in complaints:
            say(complaint)
    if complaints:
        message = f"differences, in {len(specs)} topics and {len(subjects)} schemas: {len(complaints)}"
        raise CommandError(message)
    if not as_json:
        say(f"{len(specs)} topics and {len(subjects)} schemas are as they have to be")


def _deployment() -> tuple[Settings, tuple[TopicSpec, ...]]:
    from hookstream.processors.settings import Settings
    from hookstream.processors.topic_specs import topic_specs

    settings = Settings.read("kafka_bootstrap_servers", "schema_registry_url")
    return settings, topic_specs(settings.topics(), settings.catalogue(), settings.topic_limits())
