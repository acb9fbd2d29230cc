"""What `/audit` answers."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from .bodies import ClientFields
from .delivery_bodies import HookIdFields


class AuditFields(BaseModel):
    """One deed; `client`, `event` and `hook` are null where it was about none, or about several."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": 17,
                    "at_ms": 1_795_463_750_154,
                    "actor": "token:3:acme",
                    "action": "hook.change",
                    "client": {"id": 434},
                    "event": "lead.new",
                    "hook": {"id": 223_443},
                    "detail": {"revision": 2, "target": "https://example.com/leads"},
                }
            ]
        }
    )

    id: int
    at_ms: int = Field(description="when, in Unix milliseconds")
    actor: str = Field(
        description="`token:<id>:<name>`, `portal:<session>:…`, `cli <user>@<host>`, or a part of hookstream; of actors"
        " that are not their own tokens, integrators see `portal:<session>`, `operator` or `hookstream`"
    )
    action: str
    client: ClientFields | None
    event: str | None
    hook: HookIdFields | None
    detail: dict[str, Any] = Field(description="what else is known of it, by its action; never a secret or a token")


class AuditAnswer(BaseModel):
    """A page of the audit."""

    audit: list[AuditFields]
    next_cursor: str | None = Field(description="null on the last page")
