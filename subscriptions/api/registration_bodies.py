"""The JSON of what has to do with secrets: registrations and rotations, in the order of its keys."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    Discriminator,
    Field,
    Tag,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from hookstream.subscriptions.errors import InvalidSecretError
from hookstream.subscriptions.secrets import SigningSecret

from .bodies import Answer, ClientFields, ClientIdOf, EventText, Request, TargetText

# Far more than a catalogue has; the body has 16 KiB at most.
_MAX_EVENTS = 1000
EVERY_EVENT = "*"
_EXAMPLE_SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"  # noqa: S105  # of the standard's own text


def _brought(value: Any) -> SigningSecret:  # noqa: ANN401  # whatever was sent
    """Take a secret; from here on nothing shows it.

    Raises:
        PydanticCustomError: it is none; nothing of it is in the message.
    """
    try:
        return SigningSecret.parse(value if isinstance(value, str) else "")
    except InvalidSecretError:
        raise PydanticCustomError("secret", "Wants `whsec_` and the base64 of 24 to 64 bytes") from None


def _without_default(schema: dict[str, Any]) -> None:
    """A key that is left out has no value that could be sent."""
    schema.pop("default", None)


BroughtSecret = Annotated[
    Any,
    AfterValidator(_brought),
    WithJsonSchema({"type": "string", "pattern": "^whsec_[A-Za-z0-9+/]{32,86}={0,2}$", "writeOnly": True}),
    Field(
        default=None,
        repr=False,
        description="a secret that you have already: `whsec_` and the base64 of 24 to 64 bytes. Left out, a new one is"
        " made",
        examples=[_EXAMPLE_SECRET],
        json_schema_extra=_without_default,
    ),
]
WhoseClient = Annotated[
    ClientIdOf,
    Field(default=None, description="operators name it; else it is the token's", json_schema_extra=_without_default),
]


class NewHookFields(Request):
    """Which event, to where."""

    event: EventText
    target: TargetText
    client: WhoseClient
    secret: BroughtSecret


class NewHookBody(Request):
    """`POST /hooks` with one event."""

    hook: NewHookFields


class NewHooksFields(Request):
    """Which events, all of them to where."""

    events: Annotated[
        list[EventText],
        Field(
            min_length=1,
            max_length=_MAX_EVENTS,
            description="`*` alone stands for every event that the platform has today; notices are named one by one",
            examples=[["lead.new", "lead.updated"], [EVERY_EVENT]],
        ),
    ]
    target: TargetText
    client: WhoseClient
    secret: BroughtSecret


class NewHooksBody(Request):
    """`POST /hooks` with many events: all of them get a hook, or none."""

    hooks: NewHooksFields


def _form(body: Any) -> str:  # noqa: ANN401  # whatever was sent
    return "many hooks" if isinstance(body, dict) and "hooks" in body and "hook" not in body else "one hook"


RegistrationBody = Annotated[
    Annotated[NewHookBody, Tag("one hook")] | Annotated[NewHooksBody, Tag("many hooks")], Discriminator(_form)
]


class CreatedHookFields(Answer):
    """A new hook with its secret, which is shown here once."""

    id: int
    event: str
    target: str
    client: ClientFields
    secret: str = Field(examples=[_EXAMPLE_SECRET])


class CreatedHookAnswer(Answer):
    """201 of `POST /hooks` with one event."""

    hook: CreatedHookFields


class RegisteredHookFields(Answer):
    """One of several new hooks, which have one secret."""

    id: int
    event: str
    target: str
    client: ClientFields


class CreatedHooksAnswer(Answer):
    """201 of `POST /hooks` with many events, in their order; the secret of all of them is shown here once."""

    hooks: list[RegisteredHookFields]
    secret: str = Field(examples=[_EXAMPLE_SECRET])


class RotatedHookFields(CreatedHookFields):
    """A hook with its new secret, which is shown here once; the old ones sign beside it until then."""

    old_secrets_until_ms: int


class RotatedHookAnswer(Answer):
    """`POST /hooks/{id}/secret/rotate`."""

    hook: RotatedHookFields


class RotatedHookOfEndpointFields(Answer):
    """One of the hooks that have the new secret."""

    id: int
    event: str


class RotatedEndpointFields(Answer):
    """An endpoint with the new secret of all its hooks, which is shown here once."""

    id: str = Field(examples=["434-4d1f6f0c2b6a9e11"])
    client: ClientFields
    target: str
    hooks: list[RotatedHookOfEndpointFields]
    secret: str = Field(examples=[_EXAMPLE_SECRET])
    old_secrets_until_ms: int = Field(description="until then the old secrets sign beside the new one")


class RotatedEndpointAnswer(Answer):
    """`POST /endpoints/{endpoint}/secret/rotate`."""

    endpoint: RotatedEndpointFields
