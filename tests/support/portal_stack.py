"""A whole deployment with its portal, for browsers: every role as a process, on the session's real parts."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.support.deployment import Caller, Deployment, Role
from tests.support.wait import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

WITHIN_S = 60.0
ROLES = ("router", "deliver", "attempt-log", "replayer")


@dataclass
class PortalStack:
    """A deployment that runs. Each test has clients of its own; operators see those of all."""

    deployment: Deployment
    embedder_port: int
    api: Role = field(init=False)
    operator: Caller = field(init=False)
    platform: Caller = field(init=False)
    clients: Iterator[int] = field(default_factory=lambda: itertools.count(434))

    def __post_init__(self) -> None:
        """Start it."""
        self.deployment.prepare()
        embedder = f"http://localhost:{self.embedder_port}"
        self.api = self.deployment.role("api", PORTAL_EMBED=embedder)
        others = [self.deployment.role(name) for name in ROLES]
        self.operator = Caller(self.api.url, self.deployment.token("operator"))
        self.platform = Caller(self.api.url, self.deployment.token("platform"))
        for role in (self.api, *others):
            role.wait_ready()

    @property
    def url(self) -> str:
        """Where the portal is."""
        return f"{self.api.url}/portal"

    def integrator(self, client: int) -> Caller:
        """A client's own program."""
        return Caller(self.api.url, self.deployment.token("integrator", client))

    def link(self, client: int) -> str:
        """URL of a fresh link into the portal, as the platform's own site hands it out."""
        answer = self.platform("POST", "/portal/links", {"link": {"client": client}})
        assert answer.status_code == 201, answer.text
        return self.api.url + str(answer.json()["link"]["path"])

    def publish(self, client: int, concept: int, event: str = "lead.new") -> None:
        """Let something happen in the platform."""
        fields: dict[str, Any] = {"event": event, "client": client, "concept": {"id": concept}}
        answer = self.platform("POST", "/events", fields)
        assert answer.status_code == 202, answer.text

    def wait_attempts(self, caller: Caller, hook_id: int, count: int, query: str = "") -> list[dict[str, Any]]:
        """Wait until the attempt log has so many attempts of a hook, and give them, the newest first."""
        found: list[dict[str, Any]] = []

        def enough() -> bool:
            answer = caller("GET", f"/hooks/{hook_id}/attempts{query}")
            found[:] = answer.json()["attempts"]
            return len(found) >= count

        eventually(enough, WITHIN_S, every_s=0.1)
        return found
