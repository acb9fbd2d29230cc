"""`hookstream listen` at work: registers hooks where it is asked to, serves, and prints."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console

from hookstream.processors.cli import open_api
from hookstream.processors.cli.api_client import ApiClient
from hookstream.processors.cli.console import note, say_json
from hookstream.processors.cli.effective import wait_effective
from hookstream.processors.cli.roles.process import listen, url_of
from hookstream.processors.lifecycle import StopSignal
from hookstream.processors.serving.connections import ConnectionLimits
from hookstream.processors.serving.server import HttpServer
from hookstream.processors.settings import variable

from .home import Home
from .listen_app import Behaviour, ListenApp, Received
from .listen_view import fields_of, lines_of

_STOP_S = 1
_INTEGRATOR_TOKEN = "INTEGRATOR_TOKEN"  # noqa: S105  # a variable's name


def run_listen(  # options of a command, all by name
    home: Home,
    port: int,
    *,
    events: Sequence[str],
    secrets: Sequence[str],
    behaviour: Behaviour,
    headers: bool,
    json: bool,
) -> None:
    """Listen until SIGTERM or SIGINT.

    Raises:
        CommandError: the port is taken, or a hook cannot be registered.
        SettingsError: hooks are to be registered, and nothing says where the API is.
    """
    stop = StopSignal()
    known = list(secrets)
    app = ListenApp(secrets=lambda: known, behaviour=behaviour, received=_printer(headers=headers, json=json))
    with listen("127.0.0.1", port, chosen_by="--port") as listener:
        server = HttpServer(app, limits=ConnectionLimits(), stop_timeout_s=_STOP_S)
        stop.catch_signals(notify=server.stop)
        url = url_of(listener)
        serving = threading.Thread(target=server.run, args=(listener,), name="listen", daemon=True)
        serving.start()  # before a hook is registered: its first delivery may come at once
        if events:
            with _api(home) as api:
                known += register(api, home, url, events)
                wait_effective(api, [int(hook["id"]) for event in events if (hook := _hook_of(api, event))], stop.wait)
        elif not known:
            known += home.hook_secrets().values()
        note(f"listening on {url}; Ctrl-C stops it")
        while serving.is_alive():
            serving.join(0.2)


def _api(home: Home) -> ApiClient:
    """The API of `up`'s folder, as its integrator; else the one of the settings."""
    kept = home.variables()
    url, token = kept.get(variable("api_url")), kept.get(_INTEGRATOR_TOKEN)
    return ApiClient(url, token) if url and token else open_api.open_api()


def register(api: ApiClient, home: Home, url: str, events: Sequence[str]) -> list[str]:
    """Have a hook for each event that is sent here, and give their secrets; keep them in the folder, if there is one.

    Raises:
        CommandError: the API refuses one, or does not answer.
    """
    kept = home.hook_secrets()
    for event in events:
        target = f"{url}/{event}"
        hook = _hook_of(api, event)
        if hook is None:
            made = api.post("/hooks", {"hook": {"event": event, "target": target}})["hook"]
            kept[int(made["id"])] = made["secret"]
            note(f"registered hook {made['id']}: {event} to {target}")
        elif hook["target"] != target:
            note(f"hook {hook['id']} sends {event} to {hook['target']}: it stays as it is")
        elif int(hook["id"]) not in kept:
            rotated = api.post(f"/hooks/{hook['id']}/secret/rotate", None)["hook"]
            kept[int(hook["id"])] = rotated["secret"]
            note(f"hook {hook['id']} has a new secret: the one before is not known here")
        if home.tokens_file.exists():  # each at once: the API shows a secret once
            home.write_hook_secrets(kept)
    return list(kept.values())


def _hook_of(api: ApiClient, event: str) -> Mapping[str, Any] | None:
    found: list[dict[str, Any]] = api.get("/hooks", event=event)["hooks"]
    return found[0] if found else None


def _printer(*, headers: bool, json: bool) -> Callable[[Received], None]:
    if json:
        return lambda request: say_json(fields_of(request), indent=None)
    console = Console()

    def show(request: Received) -> None:
        for line in lines_of(request, headers=headers):
            console.print(line, soft_wrap=True)

    return show
