"""A broker with two doors: one without questions for the test itself, one where a role has to say who it is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.support.kafka_broker import KafkaBroker
from tests.support.processes import free_port

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tests.support.machine import Source

_LOGIN = "org.apache.kafka.common.security.plain.PlainLoginModule required"


class SecuredKafka(KafkaBroker):
    """One broker with Kafka's own authorizer: no user may do what no ACL allows, but for the first door."""

    def __init__(self, source: Source, directory: Path, users: Iterable[str]) -> None:
        """Prepare a broker; every user's password is the name."""
        port, self._secured_port = free_port(neighbours=1), free_port()
        known = " ".join(f'user_{name}="{name}"' for name in users)
        doors = f"PLAINTEXT://127.0.0.1:{port},SASL_PLAINTEXT://127.0.0.1:{self._secured_port}"
        more = {
            "listeners": f"{doors},CONTROLLER://127.0.0.1:{port + 1}",
            "advertised.listeners": doors,
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT",
            "sasl.enabled.mechanisms": "PLAIN",
            "listener.name.sasl_plaintext.plain.sasl.jaas.config": f"{_LOGIN} {known};",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
        }
        super().__init__(source, directory, port=port, more=more)

    @property
    def secured_servers(self) -> str:
        """For `bootstrap.servers` of whoever has a name."""
        return f"127.0.0.1:{self._secured_port}"


def kafka_options(user: str) -> str:
    """How a user says who it is; the password of each is its name."""
    return json.dumps(
        {
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "PLAIN",
            "sasl.username": user,
            "sasl.password": user,
        }
    )
