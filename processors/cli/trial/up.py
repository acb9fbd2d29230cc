"""`hookstream up`: everything in one process, staying up, for trying things out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def up(
    *,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port of the API; 0 takes a free one. Default: API_PORT.")
    ] = None,
    kafka_port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Port of Kafka for other processes. Default: a free one."),
    ] = None,
    registry_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the schema registry; 0 takes a free one.")
    ] = 0,
    folder: Annotated[
        Path, typer.Option("--folder", help="The folder that keeps hooks, key and tokens.", file_okay=False)
    ] = Path(".hookstream"),
) -> None:
    """Run the API and all roles on an embedded Kafka until Ctrl-C; loopback targets are allowed.

    Other processes of this machine produce to its Kafka with its schema registry; the folder's file `tokens` has both
    addresses, and a token of each role, as variables for a shell. `hookstream listen` receives deliveries.

    Hooks, tokens and the key of their secrets are kept in the folder. Events are in memory: what is not delivered yet
    does not outlive the process. For trying things out, not for production: there, each role runs by itself.
    """
    from hookstream.processors.settings import Settings

    from .home import Home
    from .up_run import run_up

    settings = Settings.read()
    if port is not None:
        settings = settings.model_copy(update={"api_port": port})
    run_up(Home(folder), settings, kafka_port=kafka_port, registry_port=registry_port)
