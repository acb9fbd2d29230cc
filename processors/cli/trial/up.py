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
    folder: Annotated[
        Path, typer.Option("--folder", help="The folder that keeps hooks, key and tokens.", file_okay=False)
    ] = Path(".hookstream"),
) -> None:
    """Run the API and all roles on an embedded Kafka until Ctrl-C; loopback targets are allowed.

    Hooks, tokens and the key of their secrets are kept in the folder. Events are in memory: what is not delivered yet
    does not outlive the process. For trying things out, not for production: there, each role runs by itself.
    """
    from hookstream.processors.settings import Settings

    from .home import Home
    from .up_run import run_up

    settings = Settings.read()
    if port is not None:
        settings = settings.model_copy(update={"api_port": port})
    run_up(Home(folder), settings)
