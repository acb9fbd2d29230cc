"""`hookstream lag` from the command line to Kafka, with no worker at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.support.deployment import Caller, Deployment
from tests.support.wait import eventually

if TYPE_CHECKING:
    from hookstream.schemas.topics import TopicNames
    from tests.support.kafka_broker import Kafka
    from tests.support.processes import Processes


def test_what_is_owed_is_told_without_a_worker(
    kafka: Kafka, registry_url: str, database_url: str, topics: TopicNames, processes: Processes
) -> None:
    deployment = Deployment(kafka.bootstrap_servers, registry_url, database_url, topics, processes)
    deployment.prepare()
    api, router = deployment.role("api"), deployment.role("router")
    caller = Caller(api.wait_ready().url, deployment.token("integrator", 434))
    router.wait_ready()
    hook = caller.register("lead.new", "https://example.com/x?key=secret")
    caller.wait_effective(hook["id"])
    for concept in range(3):
        done = deployment.run("publish", "lead.new", "--client", "434", "--id", str(concept))
        assert done.code == 0, done.err
    operator = {"API_URL": api.url, "API_TOKEN": deployment.token("operator")}

    def lag(*args: str) -> Any:
        done = deployment.run("lag", "--json", *args, also=operator)
        assert (done.code, done.err) == (0, "")
        return done.json()["endpoints"]

    (endpoint,) = eventually(lambda: [each for each in lag() if each["behind"] == 3])
    assert (endpoint["behind_exact"], endpoint["client"], endpoint["hooks"][0]["id"]) == (True, {"id": 434}, hook["id"])
    assert lag("--client", "434", "--older-than", "0") != []
    assert lag("--older-than", "3600") == lag("--state", "paused") == []
    shown = deployment.run("lag", also=operator)
    assert endpoint["id"] in shown.out
    assert "secret" not in shown.out
    one = caller("GET", f"/endpoints/{endpoint['id']}").json()["endpoint"]
    assert one["behind"] == 3
