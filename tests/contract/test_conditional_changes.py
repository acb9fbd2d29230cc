"""Changes of hooks that name the state which they were decided on, on SQLite and on PostgreSQL."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.subscriptions_api import Answer, Api, Caller

CHANGES = [
    ("PATCH", "", {"hook": {"target": "https://other.example/"}}),
    ("POST", "/disable", None),
    ("POST", "/enable", {"backlog": "resume"}),
    ("DELETE", "", None),
]


def retarget(caller: Caller, path: str, target: str, if_match: str) -> Answer:
    """Change the target, if the hook is still as it was."""
    return caller("PATCH", path, {"hook": {"target": target}}, {"If-Match": if_match})


def test_every_answer_about_a_hook_has_the_entity_tag_of_its_state(api: Api) -> None:
    """Creation, `GET`, change, rotation, disable and enable answer with an ETag, which is another after each change."""
    caller = api.integrator(434)
    created = caller.create("lead.new", **{"Idempotency-Key": "k"})
    path = f"/hooks/{created.json()['hook']['id']}"
    seen = [created.headers["etag"]]
    assert caller("GET", path).headers["etag"] == seen[0]
    for method, action, body in [*CHANGES[:3], ("POST", "/secret/rotate", None)]:
        seen.append(caller(method, path + action, body).headers["etag"])
        assert caller("GET", path).headers["etag"] == seen[-1]
    assert len(set(seen)) == len(seen)
    unchanged = caller("PATCH", path, {"hook": {"target": "https://other.example/"}})
    assert unchanged.headers["etag"] == seen[-1]
    assert caller.create("lead.new", **{"Idempotency-Key": "k"}).headers["etag"] == seen[0], "the first answer again"


@pytest.mark.parametrize(("method", "action", "body"), CHANGES)
def test_a_change_of_what_has_changed_since_is_refused(
    api: Api, method: str, action: str, body: dict[str, object] | None
) -> None:
    """With an `If-Match` of an earlier state the answer is 412 with the present ETag, and nothing is done."""
    caller = api.integrator(434)
    created = caller.create()
    path = f"/hooks/{created.json()['hook']['id']}"
    caller("PATCH", path, {"hook": {"rate_limit_per_second": 5}})
    before, told = caller("GET", path), len(api.changes)
    refused = caller(method, path + action, body, {"If-Match": created.headers["etag"]})
    assert (refused.status_code, refused.json()["type"]) == (412, "urn:hookstream:problem:hook-changed")
    assert refused.headers["etag"] == before.headers["etag"]
    assert caller("GET", path).text == before.text
    assert len(api.changes) == told, "the relay is not told"
    done = caller(method, path + action, body, {"If-Match": refused.headers["etag"]})
    assert done.status_code == (204 if method == "DELETE" else 200), done.text


def test_of_two_changes_of_one_state_one_is_made(api: Api) -> None:
    """Two that decided on the same state at the same moment: the second gets 412, and does not overwrite the first."""
    caller = api.integrator(434)
    created = caller.create()
    path, seen = f"/hooks/{created.json()['hook']['id']}", created.headers["etag"]
    targets = [f"https://{n}.example/" for n in range(6)]
    with ThreadPoolExecutor(len(targets)) as pool:
        answers = list(pool.map(lambda target: retarget(caller, path, target, seen), targets))
    assert sorted(answer.status_code for answer in answers) == [200, *[412] * 5]
    (made,) = [answer for answer in answers if answer.status_code == 200]
    assert caller("GET", path).json()["hook"]["target"] == made.json()["hook"]["target"]


@pytest.mark.parametrize(
    ("if_match", "status"),
    [
        ("*", 200),
        ('"1"', 200),
        ('"7", "1"', 200),
        (' "1" ,W/"9"', 200),
        ('W/"1"', 412),
        ("1", 412),
        ('"01"', 412),
        ('"1', 412),
        ('"x"', 412),
        ('""', 412),
        ("", 412),
        ('"' + "9" * 19 + '"', 412),
        ('"1"' * 400, 422),
    ],
)
def test_what_names_the_present_state(on_sqlite: Api, if_match: str, status: int) -> None:
    """A strong tag of the present state does, alone or in a list, and so does `*`; nothing else does."""
    caller = on_sqlite.integrator(434)
    path = f"/hooks/{caller.create().json()['hook']['id']}"
    assert retarget(caller, path, "https://other.example/", if_match).status_code == status


def test_a_hook_that_is_not_there_is_not_found_whatever_was_expected_of_it(on_sqlite: Api) -> None:
    """Another client's hook answers 404 as one that never was, so that its revision cannot be guessed."""
    path = f"/hooks/{on_sqlite.integrator(434).create().json()['hook']['id']}"
    other = on_sqlite.integrator(435)
    assert {retarget(other, path, "https://a.example/", tag).status_code for tag in ('"1"', '"2"', "*")} == {404}
