"""What peers are compared by, how they are set up, and how what they send is read."""

from __future__ import annotations

import argparse

import pytest

from benchmarks import parallel_consumer, webhookx
from benchmarks.figures import Figure, of_peer, ratios
from benchmarks.receiver import chunked_body
from benchmarks.senders import OURS, PEERS, Sender, compared, peers


def test_a_ratio_is_the_peers_figure_over_ours_in_the_order_asked_for() -> None:
    own = [Figure(name="p99", value=5.0, unit="ms"), Figure(name="gap", value=2.0)]
    theirs = [Figure(name="p99", value=150.0, unit="ms"), Figure(name="gap", value=3.0)]
    assert ratios(own, theirs, ["gap", "p99"]) == [
        Figure(name="gap ratio", value=1.5, unit="x"),
        Figure(name="p99 ratio", value=30.0, unit="x"),
    ]


def test_there_is_no_ratio_of_nothing() -> None:
    assert ratios([Figure(name="lost", value=0)], [Figure(name="lost", value=3)], ["lost"]) == []
    assert ratios([Figure(name="lost", value=3)], [Figure(name="lost", value=0)], ["lost"]) == []


def test_a_peer_has_figures_under_its_name_and_no_bars() -> None:
    found = of_peer("peer ", [Figure(name="p99", value=5.0, unit="ms", at_most=3.0, at_least=1.0)])
    assert found == [Figure(name="peer p99", value=5.0, unit="ms")]


def test_each_sender_goes_through_the_same_scene_ours_first() -> None:
    seen: list[Sender] = []

    def scene(sender: Sender) -> list[Figure]:
        seen.append(sender)
        return [Figure(name="p99", value=2.0 * len(seen), at_most=9.0)]

    found = compared(PEERS, scene, ["p99"])
    assert seen == [OURS, *PEERS]
    assert [(each.name, each.value, each.at_most) for each in found] == [
        ("p99", 2.0, 9.0),
        ("parallel-consumer p99", 4.0, None),
        ("parallel-consumer p99 ratio", 2.0, None),
        ("parallel-consumer 4096 at once p99", 6.0, None),
        ("parallel-consumer 4096 at once p99 ratio", 3.0, None),
    ]


@pytest.mark.parametrize(("quick", "wanted"), [(True, PEERS[:1]), (False, PEERS)])
def test_a_quick_run_has_one_peer(monkeypatch: pytest.MonkeyPatch, *, quick: bool, wanted: object) -> None:
    monkeypatch.setattr(parallel_consumer, "missing", lambda: None)
    assert peers(argparse.Namespace(no_peer=False, quick=quick)) == (wanted, ())


def test_a_peer_that_cannot_run_or_is_left_out_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel_consumer, "missing", lambda: "no Maven")
    assert peers(argparse.Namespace(no_peer=False, quick=True)) == ((), ["no Maven"])
    assert peers(argparse.Namespace(no_peer=True, quick=True)) == ((), ["parallel-consumer left out"])


def test_webhookx_is_left_out_by_the_name_of_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None if name == "redis-server" else name)
    assert webhookx.missing() == "WebhookX skipped: no redis-server on the path"
    monkeypatch.setattr("shutil.which", lambda name: name)
    assert webhookx.missing() is None


def test_webhookx_listens_on_loopback_and_reports_to_no_one() -> None:
    ports = webhookx.Ports(redis=1, proxy=2, admin=3, status=4)
    found = webhookx.settings("postgresql+psycopg://me@127.0.0.1:5433/db", ports)
    assert found["database"] == {"host": "127.0.0.1", "port": 5433, "username": "me", "database": "db"}
    assert found["anonymous_reports"] is False
    assert [found[name] for name in ("admin", "status")] == [{"listen": "127.0.0.1:3"}, {"listen": "127.0.0.1:4"}]


def test_each_client_has_an_endpoint_of_webhookx_for_its_own_events() -> None:
    found = webhookx.entities("http://127.0.0.1:9", [1, 2], retry_s=60)
    endpoints = found["endpoints"]
    assert isinstance(endpoints, list)
    assert [(each["request"]["url"], each["events"]) for each in endpoints] == [
        ("http://127.0.0.1:9/t/1", ["property.updated.1"]),
        ("http://127.0.0.1:9/t/2", ["property.updated.2"]),
    ]


@pytest.mark.parametrize("missing_bytes", range(1, 26))
def test_a_chunked_body_is_read_when_it_is_whole(missing_bytes: int) -> None:
    data = b"head4\r\nWiki\r\n6;x=1\r\npedia \r\n0\r\n\r\n"
    assert chunked_body(data + b"POST", 4) == (b"Wikipedia ", len(data))
    assert chunked_body(data[:-missing_bytes], 4) is None
