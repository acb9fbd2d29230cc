"""What `hookstream up` tells people to type works as it stands."""

from __future__ import annotations

from hookstream.processors.cli.trial.up_run import Example, commands
from hookstream.schemas.event import EventName
from hookstream.schemas.hook import HookId

LEAD, PARCEL, SENT = EventName("lead.new"), EventName("parcel.packed"), EventName("parcel.sent")


def test_the_example_is_an_event_of_the_catalogue_that_has_no_hook() -> None:
    assert Example.of((PARCEL, LEAD), (), HookId(1)) == Example(LEAD, HookId(1))
    assert Example.of((LEAD, PARCEL), {LEAD}, HookId(2)) == Example(PARCEL, HookId(2))
    assert Example.of((PARCEL, SENT), {PARCEL, LEAD}, HookId(9)) == Example(SENT, HookId(9))


def test_where_every_event_has_a_hook_one_is_published_and_none_registered() -> None:
    example = Example.of((PARCEL, SENT), {PARCEL, SENT}, HookId(9))
    assert example == Example(PARCEL, None)
    typed = "\n".join(commands(".hookstream/tokens", "http://h:1", example))
    assert "/hooks" not in typed
    assert '{"event": "parcel.packed", "client": 434' in typed


def test_the_commands_wait_for_the_hook_that_they_register() -> None:
    typed = commands("tokens", "http://h:1", Example(PARCEL, HookId(7)))
    assert typed[0] == ". ./tokens"
    assert '"target": "http://127.0.0.1:9000/parcel.packed"' in typed[1]
    assert "http://h:1/hooks/7 " in typed[2]
