"""What a request has to be: signed by the hook's secrets, to the hook's path, with the body and place of its event."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from tests.nemesis.signatures import signers
from tests.nemesis.story import PING, Violation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.nemesis.story import Story


def wrongly_signed(story: Story) -> Iterator[Violation]:
    """A signature that no secret of the hook made, that its newest secret did not make, or that is too old."""
    secrets: dict[int, list[tuple[float, str]]] = {hook.hook: [(-inf, hook.secret)] for hook in story.hooks.values()}
    for action in story.actions:
        if action.what == "rotate" and action.ok:
            secrets[int(action.on)].append((story.timeline.effective(action.t), action.value))
    for request in story.requests:
        known = secrets.get(request.hook)
        if known is None:
            continue  # `misdirected` tells it
        found = signers(request, [secret for _, secret in known])
        newest = max(at for at, (since, _) in enumerate(known) if since <= request.t)
        if None in found or not any(at is not None and at >= newest for at in found):
            yield Violation("wrongly signed", request.t, f"{request.delivery} for hook {request.hook}")
        if story.run is not None:
            age_s = story.run.wall_s + request.t - request.signed_at_s
            jumped = any(each.kind.startswith("clock") for each in story.timeline.between(request.t, request.t))
            if abs(age_s) > story.bounds.signed_s and not jumped:
                yield Violation("wrongly signed", request.t, f"{request.delivery}: signed {age_s:.0f} s before")


def misdirected(story: Story) -> Iterator[Violation]:
    """A request that no event asked for, for another hook, with another body or position than its delivery has."""
    bodies: dict[str, str] = {}
    for request in story.requests:
        if request.replay.startswith(PING):
            continue
        asked, hook = story.asked.get(request.delivery), story.hooks.get(request.hook)
        acknowledged = story.acknowledged.get(request.delivery)
        what = ""
        if asked is None or hook is None:
            what = "no event asked for it"
        elif asked.hook != request.hook or hook.path != request.path:
            what = f"came to {request.path} for hook {request.hook}"
        elif request.body != bodies.setdefault(request.delivery, request.body):
            what = "another body than before"
        elif request.body != body_of(hook.event, hook.client, asked.concept):
            what = "a body that is not its event's"
        elif acknowledged is not None and acknowledged.offset >= 0:
            position = f"{acknowledged.topic}:{acknowledged.partition}:{acknowledged.offset}"
            if position != request.sequence:
                what = f"says {request.sequence}, was acknowledged at {position}"
        if what:
            yield Violation("misdirected", request.t, f"{request.delivery}: {what}")


def body_of(event: str, client: int, concept: int) -> str:
    """The bytes that integrators were promised, as text."""
    namespace = event.partition(".")[0]
    about = f'{{"id":{concept},"namespace":"{namespace}","sub_namespace":null}}'
    return f'{{"event":"{event}","client":{client},"concept":{about}}}'
