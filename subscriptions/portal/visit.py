"""One request of one who is signed in, as a screen sees it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, TypeVar
from urllib.parse import urlencode

from jinja2 import Environment
from markupsafe import Markup
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from hookstream.subscriptions.models import Role
from hookstream.subscriptions.tokens import Principal

from .calls import Api, Call
from .cookies import csrf_token, is_secure
from .navigation import items_of
from .streams import Streams

if TYPE_CHECKING:
    from starlette.types import ASGIApp

A = TypeVar("A", bound=BaseModel)
CSRF_FIELD: Final = "csrf"
SEEN_FIELD: Final = "seen"


@dataclass(frozen=True, slots=True, kw_only=True)
class PageMaker:
    """What makes pages: templates, the clock, and the API's app."""

    app: ASGIApp
    templates: Environment
    now_ms: Callable[[], int]
    streams: Streams

    async def page(self, request: Request, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:  # noqa: ANN401  # what a template shows
        """A page; made in a thread, for a long one takes milliseconds. `key` is that of the cookie, for its forms."""
        key = values.pop("key", "")
        csrf = Markup('<input type="hidden" name="{}" value="{}">').format(CSRF_FIELD, csrf_token(key)) if key else ""
        context = {
            "base": request.scope.get("root_path", ""),
            "now_ms": self.now_ms(),
            "csrf_field": csrf,
            "principal": None,
            "navigation": (),
            "here": "",
            **values,
        }
        content = await run_in_threadpool(self.templates.get_template(template).render, context)
        return HTMLResponse(content, status)


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """A request, who is asking, and the key of their session."""

    request: Request
    principal: Principal
    key: str
    maker: PageMaker
    fields: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def is_operator(self) -> bool:
        """Whether every client may be seen."""
        return self.principal.role is Role.OPERATOR

    @property
    def now_ms(self) -> int:
        """Wall time in Unix milliseconds."""
        return self.maker.now_ms()

    def path(self, name: str) -> str:
        """A parameter of the path."""
        return str(self.request.path_params[name])

    def query(self, name: str) -> str | None:
        """A parameter of the query; None where it is missing or empty."""
        return self.request.query_params.get(name) or None

    def form(self, name: str) -> str:
        """A field of the form that was sent, without blanks around it; empty where there is none."""
        values = self.fields.get(name, [])
        return values[0].strip() if values else ""

    def form_list(self, name: str) -> Sequence[str]:
        """Every value of a field of the form."""
        return self.fields.get(name, [])

    async def ask(self, answer: type[A], call: Call) -> A:
        """What the API answers to the one who is signed in.

        Raises:
            ApiProblemError: it answers with a problem; where a screen does not catch it, it becomes a page.
        """
        return await self._api.ask(answer, call)

    async def ask_tagged(self, answer: type[A], call: Call) -> tuple[A, str]:
        """What the API answers, and the tag of the state that it tells, for the page's forms.

        Raises:
            ApiProblemError: as `ask`.
        """
        return await self._api.ask_tagged(answer, call)

    @property
    def seen(self) -> str:
        """The tag of the state that the page of this form showed; one that no state has where the form has none."""
        return self.form(SEEN_FIELD) or '""'

    async def do(self, call: Call) -> None:
        """Let the API do something whose answer does not matter.

        Raises:
            ApiProblemError: as `ask`.
        """
        await self._api.do(call)

    async def page(
        self,
        template: str,
        *,
        calls: Sequence[Call] = (),
        commands: Sequence[str] = (),
        status: int = 200,
        **values: Any,  # noqa: ANN401  # what a template shows
    ) -> HTMLResponse:
        """A page, which shows these calls as `curl`, and these commands of ours that do the same."""
        origin = f"{'https' if is_secure(self.request) else 'http'}://{self.request.url.netloc}"
        return await self.maker.page(
            self.request,
            template,
            status=status,
            key=self.key,
            principal=self.principal,
            navigation=items_of(self.principal),
            here=self.request.url.path.removeprefix(self.request.scope.get("root_path", "")),
            curls=[call.curl(origin) for call in calls],
            commands=list(commands),
            done=self.query("done"),
            **values,
        )

    async def fragment(self, template: str, **values: Any) -> str:  # noqa: ANN401  # what a template shows
        """A piece of a page, for a stream."""
        values |= {"now_ms": self.now_ms, "base": self.request.scope.get("root_path", "")}
        return await run_in_threadpool(self.maker.templates.get_template(template).render, values)

    @property
    def streams(self) -> Streams:
        """The streams of this process."""
        return self.maker.streams

    def redirect(self, path: str, **query: str) -> RedirectResponse:
        """Show another screen after something was done."""
        target = self.request.scope.get("root_path", "") + path + (f"?{urlencode(query)}" if query else "")
        return RedirectResponse(target, 303)

    def link(self, **changes: object) -> str:
        """This page's URL with some parameters changed; those that are None or empty are left out."""
        query = dict(self.request.query_params) | changes
        query.pop("done", None)
        given = urlencode({name: str(value) for name, value in query.items() if value not in (None, "")})
        return self.request.url.path + (f"?{given}" if given else "")

    @property
    def _api(self) -> Api:
        return Api(self.maker.app, self.principal)


View: TypeAlias = Callable[[Visit], Awaitable[Response]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Screen:
    """A page of the portal at a path below it, and who may see it."""

    path: str
    view: View
    roles: Collection[Role]
    method: Literal["GET", "POST"] = "GET"
