"""Which connections a server keeps, and which give way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookstream.processors.serving.connections import ConnectionLimits, ConnectionTable, Phase, Room

LIMITS = ConnectionLimits(most=3, reserve=1)


def table(*phases: Phase, limits: ConnectionLimits = LIMITS) -> ConnectionTable[int]:
    """Connections 0, 1, …, which arrived a second apart from 0 s on and entered these phases at once."""
    made: ConnectionTable[int] = ConnectionTable(limits)
    for number, phase in enumerate(phases):
        made.arrive(number, float(number))
        made.enter(number, phase, float(number))
    return made


def test_without_room_the_one_that_waited_longest_for_its_client_gives_way() -> None:
    made = table(Phase.HEAD, Phase.HEAD, Phase.HEAD)
    assert made.arrive(3, 3.0) == (Room.FULL, 0)
    assert made.arrive(4, 4.0) == (Room.FULL, 1)
    assert len(made) == 3


@pytest.mark.parametrize(
    ("phases", "victim"),
    [
        ((Phase.BODY, Phase.HEAD, Phase.HANDLER), 1),
        ((Phase.BODY, Phase.READER, Phase.REST), 2),
        ((Phase.BODY, Phase.READER, Phase.HANDLER), 1),
        ((Phase.HANDLER, Phase.HANDLER, Phase.BODY), 2),
    ],
)
def test_who_has_sent_less_gives_way_first(phases: tuple[Phase, ...], victim: int) -> None:
    assert table(*phases).arrive(9, 9.0) == (Room.FULL, victim)


def test_a_whole_request_never_gives_way_and_health_has_a_reserve() -> None:
    made = table(Phase.HANDLER, Phase.HANDLER, Phase.HANDLER)
    assert made.arrive(3, 3.0) == (Room.RESERVE, None)
    assert made.arrive(4, 4.0) == (Room.RESERVE, 3)
    made.enter(4, Phase.HANDLER, 4.0)
    assert made.arrive(5, 5.0) == (Room.NONE, None)
    made.leave(0)
    assert made.arrive(6, 6.0) == (Room.RESERVE, None)


def test_every_phase_ends_but_ours() -> None:
    limits = ConnectionLimits(head_s=10, rest_s=5, reader_s=60, body_s=30)
    for phase, lasts_s in ((Phase.HEAD, 10), (Phase.REST, 5), (Phase.READER, 60), (Phase.BODY, 30)):
        made = table(phase, limits=limits)
        assert made.overdue(lasts_s - 0.1) == []
        assert made.overdue(lasts_s) == [0]
        assert len(made) == 0
    made = table(Phase.HANDLER, limits=limits)
    assert made.overdue(1e9) == []


def test_bytes_do_not_begin_a_phase_again() -> None:
    made = table(Phase.HEAD)
    made.enter(0, Phase.HEAD, 9.0)
    assert made.overdue(10.0) == [0]


def test_the_time_for_a_head_begins_with_the_end_of_the_answer_before() -> None:
    made = table(Phase.HEAD, Phase.BODY)
    for connection in (0, 1):
        made.begin_again(connection, 9.0)
    assert made.overdue(18.9) == []
    assert made.overdue(19.0) == [0, 1]


def test_one_that_was_closed_does_not_come_back() -> None:
    made = table(Phase.HEAD)
    made.leave(0)
    made.leave(0)
    made.enter(0, Phase.BODY, 1.0)
    made.begin_again(0, 1.0)
    assert len(made) == 0


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["arrive", "enter", "again", "leave", "overdue"]), st.integers(0, 9), st.sampled_from(Phase)
    )
)


@given(STEPS)
def test_there_are_never_more_than_the_limits_say(steps: list[tuple[str, int, Phase]]) -> None:
    made, here = table(), set[int]()
    for number, (what, connection, phase) in enumerate(steps):
        now_s = float(number)
        match what:
            case "arrive" if connection not in here:
                room, victim = made.arrive(connection, now_s)
                here.discard(-1 if victim is None else victim)
                if room is not Room.NONE:
                    here.add(connection)
            case "enter":
                made.enter(connection, phase, now_s)
            case "again":
                made.begin_again(connection, now_s)
            case "leave":
                made.leave(connection)
                here.discard(connection)
            case _:
                here -= set(made.overdue(now_s))
        assert len(made) == len(here) <= LIMITS.most + LIMITS.reserve
        assert {each for each_phase in Phase for each in made.waiting(each_phase)} == here
