"""Where an event's time goes from producer to receiver, hop by hop: `python -m benchmarks hops`.

The pipeline of `rates` at 200 and at 1,000 events a second. Every time is read afterwards from what the topics hold, in
whole milliseconds: the event's own, the append times of event and delivery (the broker's clock), and the start and the
duration of the request (the attempt's record). Beside the percentiles of each hop it says of the slowest hundredth of
all deliveries which hop took the longest: that is where the p99 comes from.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.figures import Figure
from benchmarks.rates import CLIENTS, LOW_RATE, MIDDLE_RATE, WARM_UP_S, at_rate
from benchmarks.receiver import percentile
from benchmarks.running import Size, arguments, main
from benchmarks.stack import Stack, broker
from hookstream.schemas.catalogue import InternalSchema
from hookstream.schemas.codecs.attempts import attempt_decoder
from hookstream.schemas.codecs.deliveries import delivery_decoder

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

SIZES = (Size("seconds", 30.0, 5.0, "how long each rate is kept"),)
_SLOWEST = 0.99
NAMES = ("to the log", "router", "worker", "request")


class Hops(NamedTuple):
    """Milliseconds of one delivery."""

    to_the_log: float
    router: float
    worker: float
    request: float


def hops_of(stack: Stack, above: tuple[Sequence[int], Sequence[int]]) -> list[Hops]:
    """Those of every delivery above these ends of `deliveries` and `attempts`."""
    decode_delivery = delivery_decoder(lambda _: InternalSchema.DELIVERY.text)
    decode_attempt = attempt_decoder(lambda _: InternalSchema.ATTEMPT.text)
    asked = {}
    for message in stack.records(stack.topics.attempts, above[1]):
        if message.value() is not None:
            attempt = decode_attempt(message.value())
            asked[attempt.delivery_id] = attempt
    found = []
    for message in stack.records(stack.topics.deliveries, above[0]):
        delivery = decode_delivery(message.value())
        if (made := asked.get(delivery.id)) is not None:
            appended_ms = message.timestamp()[1]
            found.append(
                Hops(
                    delivery.arrived_ms - delivery.occurred_at_ms,
                    appended_ms - delivery.arrived_ms,
                    made.started_at_ms - appended_ms,
                    made.duration_ms,
                )
            )
    return found


def figures_of(rate: float, found: Sequence[Hops]) -> list[Figure]:
    """Percentiles of each hop, and which hop was the longest of the slowest deliveries."""
    slowest = sorted(found, key=sum)[int(len(found) * _SLOWEST) :]
    longest = Counter(max(zip(each, NAMES, strict=True))[1] for each in slowest)
    figures = []
    for index, name in enumerate(NAMES):
        shown = f"{rate:,.0f}/s {name}"
        times = sorted(each[index] for each in found)
        figures += [
            Figure(name=f"{shown} p50", value=percentile(times, 0.5), unit="ms"),
            Figure(name=f"{shown} p99", value=percentile(times, 0.99), unit="ms"),
            Figure(name=f"{shown} longest of the slowest", value=100 * longest[name] / max(1, len(slowest)), unit="%"),
        ]
    return figures


def measure(options: argparse.Namespace) -> tuple[Sequence[Figure], Sequence[str]]:
    """Both rates, with the same processes."""
    figures: list[Figure] = []
    with broker() as servers, Stack(servers) as stack:
        stack.publish_hooks(CLIENTS)
        roles = [stack.role("router"), stack.role("deliver")]
        for role in roles:
            role.wait_ready()
        at_rate(stack, roles, MIDDLE_RATE, WARM_UP_S)
        for rate in (LOW_RATE, MIDDLE_RATE):
            above = stack.ends(stack.topics.deliveries), stack.ends(stack.topics.attempts)
            at_rate(stack, roles, rate, options.seconds)
            figures += figures_of(rate, hops_of(stack, above))
        stack.stop(*roles)
    return figures, []


if __name__ == "__main__":
    chosen = arguments(__doc__, SIZES)
    main("hops", chosen, lambda: measure(chosen))
