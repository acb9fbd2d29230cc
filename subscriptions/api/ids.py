"""Ids in requests and answers: integers or strings, as the deployment's settings and the catalogue say."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query

from hookstream.schemas.control import MAX_ENDPOINT_ID_CHARS
from hookstream.schemas.event import ClientId
from hookstream.schemas.ids import MAX_ID_CHARS, IdKind

from .bodies import ClientFields, MarkedId
from .dependencies import ApiDependencies
from .problems import Fault, invalid

ClientQuery = Annotated[str | None, Query(max_length=MAX_ID_CHARS, description="operators only; else the token's")]
IdOfEndpoint = Annotated[
    str,
    Path(
        max_length=MAX_ENDPOINT_ID_CHARS,
        description="`<client>-<digest of the target>`",
        examples=["434-4d1f6f0c2b6a9e11"],
    ),
]
_EITHER = frozenset(IdKind)


def kinds_of_ids(deps: ApiDependencies) -> dict[MarkedId, frozenset[IdKind]]:
    """Of which kinds the ids of this deployment are, for its document."""
    declared = [deps.catalogue.id_kinds(namespace) for namespace in deps.catalogue.envelopes]
    return {
        MarkedId.CLIENT: frozenset({deps.client_ids}),
        MarkedId.EVENT_CLIENT: frozenset(kinds.client for kinds in declared) or _EITHER,
        MarkedId.EVENT_CONCEPT: frozenset(kinds.concept for kinds in declared) or _EITHER,
    }


def client_fields(client: ClientId, deps: ApiDependencies) -> ClientFields:
    """A client in an answer."""
    return ClientFields(id=deps.client_ids.shown(client))


def shown_client(client: ClientId | None, deps: ApiDependencies) -> int | str | None:
    """A client in an answer, where there may be none."""
    return None if client is None else deps.client_ids.shown(client)


def shown_concept(concept_id: str, namespace: str, deps: ApiDependencies) -> int | str:
    """The id of a resource, as its namespace declares it."""
    return deps.catalogue.id_kinds(namespace).concept.shown(concept_id)


def asked_client(sent: str | None, deps: ApiDependencies) -> ClientId | None:
    """The client that a request's parameter names.

    Raises:
        ProblemError: 422, it is no client of this deployment.
    """
    if sent is None:
        return None
    if not deps.client_ids.takes(deps.client_ids.read(sent)):
        raise invalid(Fault(parameter="client", detail=f"is not {deps.client_ids.meaning}"))
    return ClientId(sent)
