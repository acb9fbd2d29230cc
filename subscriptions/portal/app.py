"""The portal, put together: its routes, who may enter them, and what is shown when something is wrong."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, cast

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from hookstream.subscriptions.api import ApiDependencies
from hookstream.subscriptions.api.problems import Problem, problem_of
from hookstream.subscriptions.errors import SubscriptionsError

from .calls import ApiProblemError
from .cookies import is_own_form, read_cookie
from .headers import SecurityHeaders
from .navigation import EVERYONE, start_of
from .rendering import STATIC, environment
from .screens import SCREENS
from .sign_in import SignIn
from .streams import Streams
from .visit import CSRF_FIELD, PageMaker, Screen, Visit

if TYPE_CHECKING:
    from hookstream.subscriptions.tokens import Principal

PATH: Final = "/portal"
# The longest form names the dead letters of one page; the API's limit of a body is below what more would need.
_MOST_FIELDS: Final = 600
Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True, kw_only=True)
class PortalConfig:
    """`embed`: origins whose pages may show the portal in a frame, as `frame-ancestors` of a CSP takes them."""

    embed: Sequence[str] = ()


def install_portal(app: FastAPI, deps: ApiDependencies, config: PortalConfig) -> None:
    """Serve the portal below `/portal` of the API's app, whose routes its screens call."""
    maker = PageMaker(app=app, templates=environment(), now_ms=deps.now_ms, streams=Streams())
    sign_in = SignIn(deps, maker, bool(config.embed))
    faults = _Faults(maker, sign_in)
    routes = [
        Route("/sign-in", sign_in.show, methods=["GET"]),
        Route("/sign-in", sign_in.enter, methods=["POST"]),
        Route("/sign-out", sign_in.leave, methods=["POST"]),
        Route("/enter/{link}", sign_in.show_link, methods=["GET"]),
        Route("/enter/{link}", sign_in.use_link, methods=["POST"]),
        *(Route(screen.path, _shown(screen, maker, sign_in), methods=[screen.method]) for screen in (_HOME, *SCREENS)),
        Mount("/static", StaticFiles(directory=STATIC)),
    ]
    portal = Starlette(
        routes=routes,
        exception_handlers={
            ApiProblemError: faults.of_the_api,
            SubscriptionsError: faults.of_ours,
            HTTPException: faults.of_the_framework,
            Exception: faults.of_ours,
        },
    )
    portal.router.redirect_slashes = False
    app.router.routes.append(Route(PATH, _with_slash, methods=["GET"]))
    app.mount(PATH, SecurityHeaders(portal, embed=config.embed, static="/static/"))


def _signed_in(
    sign_in: SignIn, page: Callable[[Request, Principal, str], Awaitable[Response]]
) -> Callable[[Request], Awaitable[Response]]:
    """A route for those who are signed in; others are asked in."""

    async def handle(request: Request) -> Response:
        principal = await sign_in.who(request)
        if principal is None:
            return await sign_in.ask_in(request)
        return await page(request, principal, read_cookie(request))

    return handle


def _shown(screen: Screen, maker: PageMaker, sign_in: SignIn) -> Handler:
    async def show(request: Request, principal: Principal, key: str) -> Response:
        visit = Visit(request=request, principal=principal, key=key, maker=maker)
        if principal.role not in screen.roles:
            return await visit.page("fault.html", status=HTTPStatus.NOT_FOUND, problem=_NO_PAGE, status_code=404)
        if screen.method == "POST":
            fields = await request.form(max_files=0, max_fields=_MOST_FIELDS)
            sent: dict[str, list[str]] = {}
            for name, value in fields.multi_items():
                sent.setdefault(name, []).append(str(value))
            if not is_own_form(request, key, "".join(sent.pop(CSRF_FIELD, []))):
                return await visit.page(
                    "fault.html", status=HTTPStatus.FORBIDDEN, problem=_FOREIGN_FORM, status_code=403
                )
            visit = replace(visit, fields=sent)
        return await screen.view(visit)

    return _signed_in(sign_in, show)


@dataclass(frozen=True, slots=True)
class _Faults:
    """Pages that say what is wrong; those who are signed in keep their navigation."""

    maker: PageMaker
    sign_in: SignIn

    async def of_the_api(self, request: Request, exc: Exception) -> Response:
        """What the API answered."""
        error = cast("ApiProblemError", exc)
        return await self._page(request, error.status, error.problem)

    async def of_ours(self, request: Request, exc: Exception) -> Response:
        """What went wrong before the API was asked. The server logs what it does not know."""
        error = problem_of(exc)
        return await self._page(
            request, error.status, Problem(type="", title=error.kind, status=error.status, detail=error.detail)
        )

    async def of_the_framework(self, request: Request, exc: Exception) -> Response:
        """No such page, no such method, a body that is too large."""
        error = cast("HTTPException", exc)
        if error.status_code == HTTPStatus.NOT_FOUND:
            return await self._page(request, error.status_code, _NO_PAGE)
        return await self._page(
            request,
            error.status_code,
            Problem(type="", title=HTTPStatus(error.status_code).phrase, status=error.status_code, detail=error.detail),
        )

    async def _page(self, request: Request, status: int, problem: Problem) -> Response:
        visit = None
        try:
            principal = await self.sign_in.who(request)
            if principal is not None:
                visit = Visit(request=request, principal=principal, key=read_cookie(request), maker=self.maker)
        except SubscriptionsError:
            pass  # the database does not answer, which may be what this page is about
        if visit is None:
            return await self.maker.page(request, "fault.html", status=status, problem=problem, status_code=status)
        return await visit.page("fault.html", status=status, problem=problem, status_code=status)


async def _home(visit: Visit) -> Response:
    return visit.redirect(start_of(visit.principal))


async def _with_slash(request: Request) -> Response:
    return RedirectResponse(f"{request.scope.get('root_path', '')}{PATH}/", 303)


_HOME: Final = Screen(path="/", view=_home, roles=EVERYONE)
_NO_PAGE: Final = Problem(type="", title="Not found", status=404, detail="There is no such page, or it is not for you.")
_FOREIGN_FORM: Final = Problem(
    type="",
    title="Form refused",
    status=403,
    detail="This form is not one of this page, or too old. Go back and try again.",
)
