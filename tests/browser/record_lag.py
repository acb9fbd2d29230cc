"""`make cast`: `hookstream lag --watch` while an endpoint is down, as a picture that moves. No test: it is named."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from itertools import islice
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

from rich.console import Console

from hookstream.processors.cli.commands import lag
from tests.support.processes import clean_environment
from tests.support.receiver import Receiver
from tests.support.repository import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest
    from rich.text import Text

    from tests.support.portal_stack import PortalStack

CAST = ROOT / "docs" / "images" / "lag.svg"
WIDTH = 80
LOOKS, FAILS_FROM, ANSWERS_FROM = 17, 3, 10
PUBLISH_EVERY_S = 0.4
SHOWN_S = 1.2
# The first look says how large all are. Each is shown in its turn; one of the outage is, where nothing may move.
HEAD = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}" role="img" aria-label="hookstream lag --watch">
<style>.frame {{ visibility: hidden; animation: turn {whole}s infinite step-end; }}
@keyframes turn {{ 0% {{ visibility: visible; }} {share:.3f}% {{ visibility: hidden; }} }}
{delays}
@media (prefers-reduced-motion: reduce) {{ .frame {{ animation: none; }} #look{still} {{ visibility: visible; }} }}
</style>
"""


def test_the_backlog_of_an_outage_is_recorded(stack: PortalStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three endpoints get events, one of them is down for a while: what the command says every two seconds."""
    monkeypatch.setattr(lag, "terminal_width", lambda: WIDTH)
    clients = [next(stack.clients) for _ in range(3)]
    status = {"orders": 204, "crm": 204, "leads": 204}
    with Receiver(answer=lambda path: status[path.rpartition("/")[2]]) as receiver:
        for client, name in zip(clients, status, strict=True):
            caller = stack.integrator(client)
            caller.wait_effective(caller.register("lead.new", receiver.url(name))["id"])
        over = Event()
        publishing = Thread(target=publish, args=(stack, clients, over), daemon=True)
        publishing.start()
        frames = []
        for number, found in enumerate(looks(stack)):
            frames.append(lag._screen(found))
            if number == FAILS_FROM:
                status["leads"] = 503
            if number == ANSWERS_FROM:
                status["leads"] = 204
        over.set()
        publishing.join()
    CAST.write_text(cast(frames))


def publish(stack: PortalStack, clients: list[int], over: Event) -> None:
    """Let something happen to each client, until it is enough."""
    concept = 0
    while not over.wait(PUBLISH_EVERY_S):
        concept += 1
        for client in clients:
            stack.publish(client, concept)


def looks(stack: PortalStack) -> Iterator[dict[str, Any]]:
    """What the command prints, look by look, while it runs."""
    variables = {"HOOKSTREAM_API_URL": stack.api.url, "HOOKSTREAM_API_TOKEN": stack.operator.token or ""}
    command = [str(Path(sys.executable).parent / "hookstream"), "lag", "--watch", "--json"]
    with subprocess.Popen(  # noqa: S603  # our own program, and no shell
        command, env=clean_environment(stack.deployment.env | variables), stdout=subprocess.PIPE, text=True
    ) as watching:
        for line in islice(watching.stdout or (), LOOKS):
            yield json.loads(line)
        watching.terminate()


def cast(frames: list[Text]) -> str:
    """One picture of them all."""
    height = max(len(frame.plain.splitlines()) for frame in frames)
    drawn = [drawing(frame, height, number) for number, frame in enumerate(frames)]
    box = re.search(r'viewBox="([^"]+)"', drawn[0])
    whole = SHOWN_S * len(drawn)
    delays = "\n".join(f"#look{n} {{ animation-delay: {n * SHOWN_S - whole:.1f}s; }}" for n in range(len(drawn)))
    head = HEAD.format(
        box=box[1] if box else "", whole=whole, share=100 / len(drawn), delays=delays, last=len(drawn) - 1
    )
    return head + "\n".join(f'<g class="frame" id="look{n}">{each}</g>' for n, each in enumerate(drawn)) + "</svg>\n"


def drawing(frame: Text, height: int, number: int) -> str:
    """One look, without fonts of other servers."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(frame, end="")
    for _ in range(height - len(frame.plain.splitlines()) + 1):
        console.print()
    svg = console.export_svg(title="hookstream lag --watch", unique_id=f"look{number}")
    return re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL).replace("Fira Code", "ui-monospace")
