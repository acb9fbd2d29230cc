"""What a history may not hold, one function for each kind of violation."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from tests.nemesis.signatures import signers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.nemesis.history import Action, Asked, Commit, HookMade, Request
    from tests.nemesis.story import Story

# What can make a worker send again what it has sent: itself, the group, the log, the way to it or to the endpoint, and
# a router or outbox relay that repeats its last writes.
SENDS_AGAIN = ("deliver", "router", "outbox-relay", "broker", "net", "endpoints", "topic-deliveries")
REPLAYS_AGAIN = (*SENDS_AGAIN, "replayer", "api", "database")
# What can leave two workers at work for one partition, or give a new one a full bucket of tokens.
OWNERS = ("deliver", "broker", "net", "endpoints")


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that was broken, at a time of the run."""

    kind: str
    t: float
    what: str


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


def ignored_pause(story: Story) -> Iterator[Violation]:
    """A request came to an endpoint that was paused, or to a hook that was disabled, and had been for long enough."""
    for begins, ends in (("pause", "resume"), ("disable", "enable")):
        changes: dict[str, list[Action]] = defaultdict(list)
        for action in story.actions:
            if action.what in (begins, ends):
                changes[action.on].append(action)
        for on, actions in changes.items():
            hooks = [hook.hook for hook in story.hooks.values() if on in (hook.endpoint, str(hook.hook))]
            arrivals = [request for request in story.requests if request.hook in hooks]
            for at, action in enumerate(actions):
                if action.what == ends or not action.ok:
                    continue
                until = next((each.asked for each in actions[at + 1 :] if each.what == ends), inf)
                effective = story.timeline.effective(action.t)
                for request in arrivals:
                    if effective < request.t < until:
                        what = f"{request.delivery} came to {on}, {request.t - action.t:.1f} s after {begins}"
                        yield Violation("pause ignored", request.t, what)


def too_fast(story: Story) -> Iterator[Violation]:
    """More requests came for a hook, in some window, than its rate allows."""
    window_s = story.bounds.window_s
    for hook in story.hooks.values():
        spans = _rates(story, hook)
        if all(rate is None for _, _, rate in spans):
            continue
        arrivals = [request.t for request in story.requests if request.hook == hook.hook]
        first = 0
        for at, now in enumerate(arrivals):
            begin = now - window_s
            while arrivals[first] < begin:
                first += 1
            most = _most(story, [rate for begins, ends, rate in spans if begins <= now and ends >= begin], begin, now)
            count = at - first + 1
            if count > most:
                what = f"{count} requests in {window_s:g} s for hook {hook.hook}, at most {most:.0f} allowed"
                yield Violation("too fast", now, what)


def _rates(story: Story, hook: HookMade) -> list[tuple[float, float, float | None]]:
    """From when to when each rate of a hook may have been the one that a worker kept."""
    spans = [(hook.t, inf, hook.rate)]
    for action in story.actions:
        if action.what == "rate" and action.on == str(hook.hook):
            if action.ok:
                ends = story.timeline.effective(action.t)
                spans = [(begin, min(end, ends), rate) for begin, end, rate in spans]
            spans.append((action.asked, inf, float(action.value) if action.value else None))
    return spans


def _most(story: Story, rates: list[float | None], begin: float, end: float) -> float:
    """How many requests a window may hold: a bucket of one second, and its refills; another bucket for a new owner."""
    known = [rate for rate in rates if rate is not None]
    if len(known) < len(rates):
        return inf
    rate = max(known)
    burst = max(rate, 1.0)
    most = rate * (end - begin + story.bounds.jitter_s) + burst + 1
    disturbed = len(story.timeline.between(begin, end, OWNERS))
    return 2 * most + disturbed * burst if disturbed else most


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
        if request.replay.startswith("ping-"):
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


def went_back(story: Story) -> Iterator[Violation]:
    """A group committed a lower offset than before: routers never do, workers by less than a window.

    A worker's offset moves down where backlog cursors rejoin the live reading: what they held is in the window again.
    """
    highest: dict[tuple[str, str, int], int] = {}
    for commit in story.commits:
        key = (commit.group, commit.topic, commit.partition)
        before = highest.get(key, -1)
        window = story.bounds.window_records if "deliver" in commit.group else 0
        if commit.offset < before - window and not _made_anew(story, commit):
            what = f"{commit.group} {commit.topic}:{commit.partition} from {before} to {commit.offset}"
            yield Violation("commit went back", commit.t, what)
        highest[key] = max(before, commit.offset)


def _made_anew(story: Story, commit: Commit) -> bool:
    topics = [each.on for each in story.timeline.between(0.0, commit.t, ("topic-",))]
    return any(commit.topic.endswith(topic.removeprefix("topic-")) for topic in topics)


def roles_ended(story: Story) -> Iterator[Violation]:
    """A role ended by itself, or did not get ready again."""
    for ended in story.ended:
        why = f"ended with {ended.code}" if ended.code != -1 else "is not ready"
        yield Violation("role ended", ended.t, f"{ended.role} {why}: {ended.why}")


def _resource(asked: Asked) -> str:
    return f"resource {asked.concept} of hook {asked.hook}"


RULES = (
    lost,
    out_of_order,
    overtaken,
    ignored_pause,
    too_fast,
    repeated,
    two_at_once,
    wrongly_signed,
    misdirected,
    went_back,
    roles_ended,
)
