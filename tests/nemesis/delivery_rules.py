"""What may not become of a delivery: lost, out of order, overtaken, repeated without a cause, twice at a time."""

from __future__ import annotations

from collections import defaultdict
from math import inf
from typing import TYPE_CHECKING

from tests.nemesis.story import Violation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.nemesis.history import Asked, Request
    from tests.nemesis.story import Story

# What can make a worker send again what it has sent: itself, the group, the log, the way to it or to the endpoint, and
# a router or outbox relay that repeats its last writes.
SENDS_AGAIN = ("deliver", "router", "outbox-relay", "broker", "net", "endpoints", "topic-deliveries")
REPLAYS_AGAIN = (*SENDS_AGAIN, "replayer", "api", "database")


def lost(story: Story) -> Iterator[Violation]:
    """An acknowledged event neither arrived, nor is shown as pending, nor is a dead letter for a good reason."""
    if not story.finished:
        return
    skipped = {action.on for action in story.actions if action.what == "skip"}
    for delivery in story.acknowledged:
        asked = story.asked[delivery]
        for reason in story.dead.get(delivery, ()):
            answers = [story.answers.get(request.request) for request in story.of_delivery.get(delivery, ())]
            refused = any(answer is not None and answer.refused for answer in answers)
            if not (reason == "skipped" and delivery in skipped) and not (reason == "refused" and refused):
                yield Violation("dead-lettered", asked.t, f"{delivery}: {reason}, for no reason that the history shows")
        arrived = story.first_accepted(delivery) is not None
        if not arrived and delivery not in story.dead and story.states.get(delivery) != "owed":
            state = story.states.get(delivery, "not asked")
            yield Violation("lost", asked.t, f"{delivery} of {_resource(asked)}: the API says {state}")
    for delivery, reasons in story.dead.items():
        for reason in reasons:
            if delivery not in story.asked or (
                delivery not in story.acknowledged and reason not in ("skipped", "refused")
            ):
                yield Violation("dead-lettered", 0.0, f"{delivery or 'a record'}: {reason}")
    yield from _lost_of_replays(story)


def _lost_of_replays(story: Story) -> Iterator[Violation]:
    arrived: dict[str, set[str]] = defaultdict(set)
    for request in story.requests:
        if request.replay and story.accepted(request):
            arrived[request.replay].add(request.delivery)
    for action in story.actions:
        if action.what == "replayed":
            job, _, sent = action.value.partition(" ")
            if len(arrived[job]) < int(sent):
                yield Violation("lost", action.t, f"{job}: sent {sent}, {len(arrived[job])} arrived")


def out_of_order(story: Story) -> Iterator[Violation]:
    """A delivery was attempted before the one before it, of the same resource and hook, had arrived."""
    for deliveries in story.resources().values():
        last: tuple[Asked, float] | None = None
        for asked in deliveries:
            live = next((each for each in story.of_delivery.get(asked.delivery, ()) if not each.replay), None)
            if live is not None and last is not None and live.t < last[1]:
                what = f"{asked.delivery} (number {asked.number}) came before {last[0].delivery} ({last[0].number})"
                yield Violation("out of order", live.t, f"{what} of {_resource(asked)}")
            accepted = story.first_accepted(asked.delivery)
            arrived = inf if accepted is None else accepted.t
            if last is None or arrived >= last[1]:
                last = (asked, arrived)


def overtaken(story: Story) -> Iterator[Violation]:
    """A replayed delivery arrived before it, or an earlier one of its resource, had been delivered live."""
    for deliveries in story.resources().values():
        latest, before = -inf, ""
        for asked in deliveries:
            live = next(
                (
                    each.t
                    for each in story.of_delivery.get(asked.delivery, ())
                    if not each.replay and story.accepted(each)
                ),
                inf,
            )
            if live > latest:
                latest, before = live, asked.delivery
            for request in story.of_delivery.get(asked.delivery, ()):
                if request.replay and request.t < latest:
                    what = f"{asked.delivery} as {request.replay} before {before} was delivered, of {_resource(asked)}"
                    yield Violation("replay overtook", request.t, what)


def repeated(story: Story) -> Iterator[Violation]:
    """A delivery arrived twice, and nothing was disturbed that explains it."""
    yield from (
        Violation("duplicate", again.t, f"{again.delivery}, {again.replay or 'live'}: nothing explains it")
        for again, causes in duplicates(story)
        if not causes
    )


def duplicates(story: Story) -> Iterator[tuple[Request, list[str]]]:
    """Each accepted repetition, with the kinds of what was disturbed between the event and the repetition."""
    jobs = {action.value: action.asked for action in story.actions if action.what in ("replay", "resend")}
    for delivery, requests in story.of_delivery.items():
        asked = story.asked.get(delivery)
        seen: dict[str, Request] = {}
        for request in requests:
            if not story.accepted(request):
                continue
            first = seen.setdefault(request.replay, request)
            if first is not request:
                live = first.t if asked is None else asked.t
                begins = jobs.get(request.replay, first.t) if request.replay else live
                on = REPLAYS_AGAIN if request.replay else SENDS_AGAIN
                periods = story.timeline.between(begins, request.t, on)
                yield request, [f"{period.kind} {period.on}" for period in periods]


def two_at_once(story: Story) -> Iterator[Violation]:
    """Two requests of one resource were under way to one hook at the same time, and nothing explains it."""
    under_way: dict[tuple[int, int], tuple[Request, float]] = {}
    for request in story.requests:
        asked = story.asked.get(request.delivery)
        if asked is None:
            continue
        answer = story.answers.get(request.request)
        ends = inf if answer is None else answer.t
        key = (asked.hook, asked.concept)
        before = under_way.get(key)
        if (
            before is not None
            and before[1] > request.t
            and not story.timeline.between(before[0].t, request.t, SENDS_AGAIN)
        ):
            what = f"{request.delivery} while {before[0].delivery} was under way, of {_resource(asked)}"
            yield Violation("two at once", request.t, what)
        if before is None or ends > before[1] or before[1] <= request.t:
            under_way[key] = (request, ends)


def _resource(asked: Asked) -> str:
    return f"resource {asked.concept} of hook {asked.hook}"
