"""When a process slows down for bugs of its own, and when it goes on."""

from __future__ import annotations

from hookstream.processors.delivery.worker.brake import CLIENTS, FAILURES, TRIAL_EVERY_S, Brake


def test_where_nothing_has_worked_since_the_start_one_client_is_enough() -> None:
    brake = Brake()
    assert [brake.failed("1") for _ in range(FAILURES + 3)] == [False] * (FAILURES - 1) + [True] + [False] * 3
    assert brake.on


def test_where_something_has_worked_several_clients_have_to_fail() -> None:
    brake = Brake()
    brake.worked()
    assert not any(brake.failed(str(client % (CLIENTS - 1))) for client in range(100))
    assert brake.failed(str(CLIENTS))


def test_one_that_works_begins_the_count_anew() -> None:
    brake = Brake()
    for _ in range(10):
        for client in range(FAILURES - 1):
            assert not brake.failed(str(client))
        assert not brake.worked(), "it was not on"
    assert not brake.on


def test_braked_it_admits_a_trial_every_quarter_of_a_second_until_one_works() -> None:
    brake = Brake()
    assert all(brake.admits(5.0) for _ in range(100))
    for client in range(FAILURES):
        brake.failed(str(client))
    assert [brake.admits(5.0), brake.admits(5.0), brake.admits(5.0 + TRIAL_EVERY_S)] == [True, False, True]
    assert brake.worked()
    assert all(brake.admits(5.0) for _ in range(100))
