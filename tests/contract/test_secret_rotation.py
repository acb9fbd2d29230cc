"""A hook's new secret, and how long the old one is used beside it, on SQLite and on PostgreSQL."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from hookstream.subscriptions.changes import hook_of
from hookstream.subscriptions.database import reading
from hookstream.subscriptions.models import AuditRow, SubscriptionRow
from hookstream.subscriptions.repository import MAX_SECRETS
from hookstream.subscriptions.secret_rotation import SECRET_OVERLAP_MS, drop_old_secrets
from hookstream.subscriptions.secrets import MasterKey, SecretBox, open_hook_secrets
from tests.support.subscriptions_api import BOX, Answer, Api, Caller

CLIENT = 434


def stored_row(api: Api) -> SubscriptionRow:
    """Read the row of the hook."""
    with reading(api.sessions) as session:
        return session.get_one(SubscriptionRow, (CLIENT, "lead.new"))


def in_use(api: Api) -> list[str]:
    """What deliveries of the hook are signed with, newest first."""
    return [secret.reveal() for secret in open_hook_secrets(BOX, hook_of(stored_row(api)))]


def created(caller: Caller) -> dict[str, Any]:
    """Register a hook."""
    hook: dict[str, Any] = caller.create().json()["hook"]
    return hook


def rotate(caller: Caller, hook_id: int, **headers: str) -> Answer:
    """Ask for a new secret."""
    return caller("POST", f"/hooks/{hook_id}/secret/rotate", None, headers)


def test_both_secrets_sign_for_a_day_and_then_the_new_one_alone(api: Api) -> None:
    """A rotated hook is signed with both secrets for 24 hours, newest first; then the relay drops the old one."""
    caller = api.integrator(CLIENT)
    first = created(caller)
    answer = rotate(caller, first["id"])
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    hook = answer.json()["hook"]
    assert hook["secret"] != first["secret"]
    assert hook["old_secrets_until_ms"] == api.clock() + SECRET_OVERLAP_MS
    assert in_use(api) == [hook["secret"], first["secret"]]
    assert stored_row(api).revision == 2
    assert len(api.changes) == 2, "the relay is told"

    just_before = api.clock() + SECRET_OVERLAP_MS - 1
    assert drop_old_secrets(api.sessions, now_ms=just_before, limit=10) == 0
    assert drop_old_secrets(api.sessions, now_ms=just_before + 1, limit=10) == 1
    assert drop_old_secrets(api.sessions, now_ms=just_before + 1, limit=10) == 0
    assert in_use(api) == [hook["secret"]]
    row = stored_row(api)
    assert (row.revision, row.published_revision, row.old_secrets_until_ms) == (3, 0, None)


def test_it_is_audited_and_nothing_shows_the_secret_again(api: Api) -> None:
    """The audit says who rotated and who dropped, and neither it nor the hook's page holds a secret."""
    caller = api.integrator(CLIENT)
    hook_id = created(caller)["id"]
    secret = rotate(caller, hook_id).json()["hook"]["secret"]
    drop_old_secrets(api.sessions, now_ms=api.clock() + SECRET_OVERLAP_MS, limit=10)
    with reading(api.sessions) as session:
        rows = session.scalars(select(AuditRow).where(AuditRow.hook_id.is_not(None)).order_by(AuditRow.id)).all()
    assert [row.action for row in rows] == ["hook.create", "hook.secret.rotate", "hook.secret.drop"]
    assert rows[1].actor == rows[0].actor
    assert rows[2].actor == "relay"
    assert secret not in str([dict(row.detail) for row in rows]) + caller("GET", f"/hooks/{hook_id}").text


def test_the_same_key_gets_the_same_secret_again(api: Api) -> None:
    """With an `Idempotency-Key` a request that is sent again changes nothing, and shows the same secret."""
    caller = api.integrator(CLIENT)
    hook_id = created(caller)["id"]
    first, again = (rotate(caller, hook_id, **{"Idempotency-Key": "k1"}) for _ in range(2))
    assert first.json() == again.json()
    assert again.headers["idempotent-replayed"] == "true"
    assert len(in_use(api)) == 2
    other = caller.create("lead.status").json()["hook"]["id"]
    assert rotate(caller, other, **{"Idempotency-Key": "k1"}).status_code == 422
    by_operator = rotate(api.operator(), hook_id, **{"Idempotency-Key": "k1"})
    assert by_operator.json() == first.json(), "the key is the client's"


def test_no_old_secret_is_dropped_before_its_time(api: Api) -> None:
    """Whoever rotates again and again within a day is refused: an old secret that is in use is never pushed out."""
    caller = api.integrator(CLIENT)
    first = created(caller)
    for _ in range(MAX_SECRETS - 1):
        assert rotate(caller, first["id"]).status_code == 200
    refused = rotate(caller, first["id"])
    assert refused.status_code == 409
    assert refused.json()["type"] == "urn:hookstream:problem:too-many-secrets"
    assert in_use(api)[-1] == first["secret"]


def test_another_clients_secret_is_not_there(api: Api) -> None:
    """A client can rotate its own hooks' secrets; a deleted hook has none, and the next one of its key has one."""
    caller = api.integrator(CLIENT)
    hook_id = created(caller)["id"]
    assert rotate(api.integrator(435), hook_id).status_code == 404
    assert rotate(caller, hook_id).status_code == 200
    caller("DELETE", f"/hooks/{hook_id}")
    assert rotate(caller, hook_id).status_code == 404
    assert stored_row(api).old_secrets_until_ms is None
    secret = created(caller)["secret"]
    assert in_use(api) == [secret]


def test_a_hook_whose_master_key_is_lost_gets_a_new_secret_alone(any_database_url: str) -> None:
    """An old secret that no key opens is dropped at once: the hook is signed for again, with the new one."""
    lost = Api(any_database_url, secret_box=SecretBox((MasterKey(b"lost" * 8),)))
    hook_id = created(lost.integrator(CLIENT))["id"]
    lost.close()
    api = Api(any_database_url)
    answer = rotate(api.integrator(CLIENT), hook_id)
    assert in_use(api) == [answer.json()["hook"]["secret"]]
    assert stored_row(api).old_secrets_until_ms is None
    api.close()
