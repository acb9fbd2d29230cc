"""Places for requests are divided by what is free, by age, and by what is known of an endpoint."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from hookstream.processors.delivery.engine.dispatcher import Dispatcher
from hookstream.processors.delivery.engine.fair_share import FairShare
from hookstream.processors.delivery.engine.model import LIVE, REPLAY, Client, Endpoint
from hookstream.processors.delivery.engine.policy import EnginePolicy

if TYPE_CHECKING:
    from hookstream.processors.delivery.engine.model import Post, StreamIndex

NOW = 100.0
POLICY = EnginePolicy()
HALF_FULL, NEARLY_FULL, COMMON_FULL, NEARLY_ALL = 2_048, 3_500, 3_584, 3_900


class NoEngine:
    """Remembers who was asked, and gives nothing."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, StreamIndex]] = []

    def take(self, endpoint: Endpoint, stream: StreamIndex) -> Post | None:
        """Nothing to send."""
        self.asked.append((endpoint.target, stream))
        return None

    def abandon(self, post: Post) -> None:
        """Never called here."""
        raise AssertionError(post)


def endpoint(client: Client, *, quick: bool = False, target: str = "x", engine: NoEngine | None = None) -> Endpoint:
    """An endpoint, unknown or with a quick answer behind it."""
    made = Endpoint(engine or NoEngine(), "1", target, client, POLICY, random.random)
    made.quick = quick
    return made


def sent(of: Endpoint, count: int, *, ago_s: float = 0.0) -> Endpoint:
    """So many requests are in flight since then."""
    for each in (of, of.client):
        each.in_flight += count
        each.sent_sum += count * (NOW - ago_s)
    return of


def most(of: Endpoint, in_flight: int) -> int:
    """How many requests a client may have in flight for an endpoint while the process has so many."""
    share, client = FairShare(POLICY), of.client
    before, before_sum = client.in_flight, client.sent_sum
    while share.allows(of, in_flight, NOW):
        client.in_flight += 1
        client.sent_sum += NOW
    allowed, client.in_flight, client.sent_sum = client.in_flight, before, before_sum
    return allowed


@pytest.mark.parametrize(
    ("in_flight", "unknown", "quick"), [(0, 112, 128), (HALF_FULL, 96, 128), (NEARLY_FULL, 6, 38), (COMMON_FULL, 1, 32)]
)
def test_a_share_shrinks_with_what_is_free(in_flight: int, unknown: int, quick: int) -> None:
    """An eighth of the process's places, and of a client's own, are kept: for quick endpoints, some for the unknown."""
    assert most(endpoint(Client()), in_flight) == unknown
    assert most(endpoint(Client(), quick=True), in_flight) == quick


def test_an_endpoint_that_answered_quickly_and_hangs_now_is_quick_no_more() -> None:
    """What is in flight counts, not only what was answered."""
    assert not FairShare(POLICY).allows(sent(endpoint(Client(), quick=True), 1, ago_s=1.5), COMMON_FULL, NOW)
    assert FairShare(POLICY).allows(sent(endpoint(Client(), quick=True), 1, ago_s=0.5), COMMON_FULL, NOW)


def test_an_endpoint_without_a_past_has_the_standing_of_its_client() -> None:
    """A client whose requests hang gains nothing by a new target."""
    client = Client()
    sent(endpoint(client), 4, ago_s=7.0)
    assert not FairShare(POLICY).allows(endpoint(client, target="y"), HALF_FULL + 1_100, NOW)
    assert FairShare(POLICY).allows(sent(endpoint(Client()), 4), HALF_FULL + 1_100, NOW)


def test_a_client_that_was_slow_is_slow_for_a_while() -> None:
    """Also when nothing of it is in flight any more."""
    client = Client()
    for _ in range(20):
        client.note_slow_request(15.0)
    assert most(endpoint(client), HALF_FULL) == 7
    for _ in range(80):
        client.note_slow_request(0.01)
    assert client.slowness_s == 0.0


def test_a_quick_endpoint_is_not_held_up_by_a_slow_one_of_its_client() -> None:
    """The kept places are for the endpoint, within its client's share."""
    client = Client()
    sent(endpoint(client), 8, ago_s=10.0)
    assert FairShare(POLICY).allows(endpoint(client, quick=True, target="y"), COMMON_FULL, NOW)
    assert not FairShare(POLICY).allows(endpoint(client, target="z"), COMMON_FULL, NOW)


@pytest.mark.parametrize(("process", "client"), [(1, 1), (4, 128), (64, 128), (4_096, 8), (4_096, 128)])
def test_small_caps_leave_a_place_for_everyone_who_is_alone(process: int, client: int) -> None:
    """However a deployment sets them."""
    share = FairShare(EnginePolicy(process_in_flight=process, client_in_flight=client))
    assert share.unreserved >= 1
    assert share.allows(endpoint(Client()), 0, NOW)


def test_a_client_that_waits_for_its_share_is_asked_when_a_request_of_its_own_ends() -> None:
    """All of its endpoints, if there is room: what was waiting longest may have nothing to send any more."""
    dispatcher, engine, client = Dispatcher(POLICY), NoEngine(), Client()
    sent(endpoint(client), 128)
    for target in "abc":
        assert not dispatcher.admits(endpoint(client, target=target, engine=engine), NOW)
    assert dispatcher.next() is None
    assert not engine.asked
    client.in_flight = 100
    dispatcher.freed(client)
    assert dispatcher.next() is None
    assert engine.asked == [(target, stream) for target in "abc" for stream in (LIVE, REPLAY)]


def test_those_that_wait_get_a_turn_for_each_request_that_ends_while_places_are_scarce() -> None:
    """Hundreds wait, and asking all of them each time would cost more than the deliveries."""
    dispatcher, engine = Dispatcher(POLICY), NoEngine()
    dispatcher.in_flight = NEARLY_ALL
    for number in range(5):
        assert not dispatcher.admits(endpoint(Client(), target=str(number), engine=engine), NOW)
    dispatcher.ended()
    dispatcher.ended()
    assert dispatcher.next() is None
    assert [target for target, stream in engine.asked if stream == LIVE] == ["0", "1"]
    dispatcher.in_flight = HALF_FULL - 1
    assert dispatcher.next() is None
    assert [target for target, stream in engine.asked if stream == LIVE] == ["0", "1", "2", "3", "4"]
