"""Who may call a route: a bearer token is checked before a byte of the body is read.

Source: RFC 6750.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractContextManager
from http import HTTPStatus
from typing import Any, ClassVar, Final, cast

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.responses import Response

from hookstream.schemas.event import ClientId
from hookstream.subscriptions.errors import ExpiredTokenError, TokenError
from hookstream.subscriptions.models import Role
from hookstream.subscriptions.tokens import Principal, token_digest

from .admission import OwnThreads, Question
from .dependencies import ApiDependencies
from .problems import ProblemError

# Who is asking is found out whatever the handlers' threads wait for: where all of them are taken, a question that will
# be refused is refused at once. Tokens that were good before wait for no others.
_AGAIN: Final = OwnThreads("authentication", 6)
_FIRST: Final = OwnThreads("first authentication", 2)
_REALM: Final = 'Bearer realm="hookstream"'
# Key of an ASGI scope under which the portal says who is signed in. No client sets it: a request has no such part.
SIGNED_IN: Final = "hookstream.signed_in"
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class TokenRoute(APIRoute):
    """A route behind a token of one of the roles `allowed`."""

    allowed: ClassVar[tuple[Role, ...]] = ()


def route_for(deps: ApiDependencies, *roles: Role) -> type[TokenRoute]:
    """A class of routes that answer 401 without a good token, 403 to other roles, and 415 to a body that is no JSON.

    Above the limit of its token a request is answered 429, before the database is asked whether the token is good.
    """

    class RouteOfRoles(TokenRoute):
        """A route for the tokens of these roles."""

        allowed = roles

        def get_route_handler(self) -> Handler:
            """Wrap the handler of the framework."""
            inner = super().get_route_handler()
            takes_body = self.body_field is not None

            async def handler(request: Request) -> Response:
                principal: Principal | None = request.scope.get(SIGNED_IN)
                if principal is None:
                    principal = await _holder(deps, request)
                    deps.token_uses.note(principal.token_id, deps.now_ms())
                else:
                    await _count(deps, request, principal)
                _check_role(principal, roles)
                request.state.principal = principal
                if takes_body:
                    _check_media_type(request)
                return await inner(request)

            return handler

    return RouteOfRoles


def principal_of(request: Request) -> Principal:
    """Who is asking; for handlers of routes behind a token."""
    return cast("Principal", request.state.principal)


def asking(deps: ApiDependencies, request: Request, question: Question) -> AbstractContextManager[None]:
    """Count a slow question of this request's token while it is answered.

    Raises:
        ProblemError: when it is entered: 429, where too many are being answered.
    """
    return deps.admission.enter(question, principal_of(request).caller)


def scope_of(request: Request, client: ClientId | None) -> ClientId | None:
    """Whose things may be seen, where a request may name a client; None is everyone's."""
    own = principal_of(request).client
    if own is not None and client not in (None, own):
        raise foreign_client()
    return own if client is None else client


async def _holder(deps: ApiDependencies, request: Request) -> Principal:
    """Who holds the token of a request, which is counted.

    Raises:
        ProblemError: 401, it is no good; 429, it makes too many requests.
    """
    token = _bearer(request)
    try:
        digest = token_digest(token)
        last = deps.known_tokens.last(digest)
        if last is not None:
            await _count(deps, request, last.principal)
        known = deps.known_tokens.fresh(digest)
        if known is None:
            threads = _FIRST if last is None else _AGAIN
            known = await threads.run(deps.known_tokens.read, deps.sessions, digest)
        principal = known.holder(deps.now_ms())
    except TokenError as exc:
        what = "has expired" if isinstance(exc, ExpiredTokenError) else "is not valid"
        raise unauthorized(token=f"the token {what}") from None
    if last is None:
        await _count(deps, request, principal)
    return principal


async def _count(deps: ApiDependencies, request: Request, principal: Principal) -> None:
    """Count a request against the limit of its token.

    Raises:
        ProblemError: 429, it is above it.
    """
    limits = deps.limits
    rate = limits.publish_rate if principal.role is Role.PLATFORM else limits.token_rate
    if rate is None:
        return
    request.state.allowance = allowance = deps.token_rates.take(principal.caller, rate)
    if not allowance.allowed:
        raise await deps.refusals.refuse(principal.caller, allowance)


def _check_role(principal: Principal, roles: tuple[Role, ...]) -> None:
    if principal.role not in roles:
        raise wrong_role(principal.role, roles)


def _bearer(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise unauthorized()
    return token.strip()


def foreign_client() -> ProblemError:
    """403: what belongs to another client than the token's."""
    detail = "the token is another client's; operators alone see every client"
    return ProblemError(HTTPStatus.FORBIDDEN, "foreign-client", detail)


def wrong_role(role: Role, allowed: Sequence[Role]) -> ProblemError:
    """403: a route that is not for tokens of this role."""
    detail = f"this needs the role {' or '.join(allowed)}; the token's is {role}"
    return ProblemError(HTTPStatus.FORBIDDEN, "wrong-role", detail)


def not_json() -> ProblemError:
    """415: a body that says that it is something else than JSON."""
    return ProblemError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "not-json", "the body must be application/json")


def unauthorized(*, token: str = "") -> ProblemError:
    """401: no token was sent, or `token` says what is wrong with it."""
    detail = token or "this needs a header `Authorization: Bearer` with a token"
    headers = {"WWW-Authenticate": f'{_REALM}, error="invalid_token"' if token else _REALM}
    return ProblemError(HTTPStatus.UNAUTHORIZED, "unauthorized", detail, headers=headers)


def _check_media_type(request: Request) -> None:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    has_body = request.headers.get("content-length", "") not in ("", "0") or "transfer-encoding" in request.headers
    if has_body and media_type != "application/json" and not media_type.endswith("+json"):
        raise not_json()
