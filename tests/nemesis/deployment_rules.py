"""What a deployment has to obey: pauses, disabled hooks and rates; and what it may not do: commit backwards, end."""

from __future__ import annotations

from collections import defaultdict
from math import inf
from typing import TYPE_CHECKING

from tests.nemesis.story import Violation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.nemesis.history import Action, Commit, HookMade
    from tests.nemesis.story import Story

_WITHOUT_TOPIC = "run `hookstream topics create`"
# What can leave two workers at work for one partition, or give a new one a full bucket of tokens.
OWNERS = ("deliver", "broker", "net", "endpoints")


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
    """A role ended by itself, or did not get ready again; one that starts without a topic may say so and end."""
    for ended in story.ended:
        if _WITHOUT_TOPIC in ended.why and story.timeline.between(ended.t, ended.t, ("topic-",)):
            continue
        why = f"ended with {ended.code}" if ended.code != -1 else "is not ready"
        yield Violation("role ended", ended.t, f"{ended.role} {why}: {ended.why}")
