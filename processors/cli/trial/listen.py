"""`hookstream listen`: a receiver for trying things out, which shows what it gets and misbehaves on request."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hookstream.processors.cli.console import Json
from hookstream.processors.cli.times import DURATION, duration_parser


def listen(  # noqa: PLR0913  # options of a command, all by name
    *,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where to listen; 0 takes a free port.")] = 9000,
    event: Annotated[
        list[str] | None, typer.Option(metavar="EVENT", help="Register a hook for it, to this receiver. Repeatable.")
    ] = None,
    secret: Annotated[
        list[str] | None, typer.Option(metavar="whsec_…", help="A hook's secret to verify with. Repeatable.")
    ] = None,
    fail: Annotated[
        int | None, typer.Option(metavar="STATUS", min=100, max=599, help="Answer this instead of 204.")
    ] = None,
    times: Annotated[
        int | None, typer.Option(min=1, help="Fail so many requests, then answer 204; with --fail.")
    ] = None,
    slow: Annotated[
        float,
        typer.Option(
            metavar="DURATION",
            parser=duration_parser(longest_s=3600),
            help=f"Wait before each answer: seconds, or {DURATION}.",
        ),
    ] = 0.0,
    headers: Annotated[bool, typer.Option("--headers", help="Show the headers of each request too.")] = False,
    folder: Annotated[Path, typer.Option("--folder", help="The folder of `hookstream up`.", file_okay=False)] = Path(
        ".hookstream"
    ),
    as_json: Json = False,
) -> None:
    """Receive deliveries on a port of this machine, verify each signature, and print them until Ctrl-C.

    hookstream listen --event lead.new

    hookstream listen --secret whsec_... --fail 503 --times 3

    With --event it registers a hook at the API of `hookstream up`, or at HOOKSTREAM_API_URL with the integrator's token
    in HOOKSTREAM_API_TOKEN, and keeps its secret in the folder. A hook that exists and has another target stays as it
    is. A request whose signature is wrong is answered with 401. Without a secret nothing is verified.
    """
    if times is not None and fail is None:
        raise typer.BadParameter("--times needs --fail")
    from .home import Home
    from .listen_app import Behaviour
    from .listen_run import run_listen

    behaviour = Behaviour(fail_with=fail, failures=times, wait_s=slow)
    run_listen(
        Home(folder), port, events=event or [], secrets=secret or [], behaviour=behaviour, headers=headers, json=as_json
    )
