"""Signing in with a token or by a link, and out. Each form carries a CSRF token, also before there is a session."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from hookstream.subscriptions.api import ApiDependencies
from hookstream.subscriptions.api.admission import OwnThreads
from hookstream.subscriptions.database import reading, transact
from hookstream.subscriptions.errors import SessionEndedError, SpentLinkError, TokenError
from hookstream.subscriptions.portal_sessions import (
    IssuedKey,
    close_session,
    new_key,
    open_session,
    resume_session,
    use_link,
)
from hookstream.subscriptions.tokens import Principal, authenticate

from .cookies import clear_cookie, is_own_form, read_cookie, write_cookie
from .navigation import EVERYONE, start_of
from .visit import CSRF_FIELD, PageMaker

# As for tokens: whatever the handlers' threads wait for, who is asking is found out.
_THREADS: Final = OwnThreads("portal sessions", 4)
# A path below the portal: no other host, and nothing that a browser reads as one.
_OWN_PATH: Final = re.compile(r"/[A-Za-z0-9._~%/-]*(\?[A-Za-z0-9._~%&=+:,-]*)?", re.ASCII)
_MOST_NEXT_CHARS: Final = 2000


@dataclass(frozen=True, slots=True)
class SignIn:
    """Who is signed in, and the pages that change it. `embeddable`: other sites may frame the portal."""

    deps: ApiDependencies
    maker: PageMaker
    embeddable: bool

    async def who(self, request: Request) -> Principal | None:
        """Who is signed in; None: no one."""
        key = read_cookie(request)
        return await _THREADS.run(self._resume, key) if key else None

    async def ask_in(self, request: Request) -> Response:
        """Send one who is not signed in to the form, or back to the page with the cookie."""
        if _may_have_a_cookie(request):
            return await self.maker.page(request, "reload.html")
        base = request.scope.get("root_path", "")
        wanted = request.url.path.removeprefix(base) + (f"?{request.url.query}" if request.url.query else "")
        query = f"?{urlencode({'next': wanted})}" if request.method == "GET" and own_path(wanted) else ""
        return RedirectResponse(f"{base}/sign-in{query}", 303)

    async def show(self, request: Request) -> Response:
        """Show the form; one who is signed in already goes on."""
        if _may_have_a_cookie(request):
            return await self.maker.page(request, "reload.html")
        principal = await self.who(request)
        if principal is not None:
            return _to(request, own_path(request.query_params.get("next", "")) or start_of(principal))
        return await self._form(request)

    async def enter(self, request: Request) -> Response:
        """Sign in with the token in the form."""
        fields = await request.form(max_files=0, max_fields=10)
        key = read_cookie(request)
        if not is_own_form(request, key, str(fields.get(CSRF_FIELD, ""))):
            return await self._form(request, "This form is not one of this page, or too old. Try again.", status=403)
        token = str(fields.get("token", "")).strip()
        try:
            principal = await _THREADS.run(self._authenticate, token)
            if principal.role not in EVERYONE:
                return await self._form(
                    request, "A platform's token publishes events; there is nothing to see with it."
                )
            issued = await _THREADS.run(self._open, token, key)
        except TokenError:
            return await self._form(
                request, "The token is not valid: it was never issued, has expired, or was revoked."
            )
        return self._signed_in(request, issued, own_path(request.query_params.get("next", "")) or start_of(principal))

    async def show_link(self, request: Request) -> Response:
        """Show a button that uses a link: what only looks at the address, such as a mail scanner, spends nothing.

        The script of the page presses it at once, but not where that would end the session of a token's holder.
        """
        if _may_have_a_cookie(request):
            return await self.maker.page(request, "reload.html")
        present = await self.who(request)
        by_token = present if present is not None and present.session_id is None else None
        response = await self._page(request, "enter.html", present=by_token)
        response.headers["Referrer-Policy"] = "no-referrer"
        return response

    async def use_link(self, request: Request) -> Response:
        """Sign in by a link."""
        fields = await request.form(max_files=0, max_fields=10)
        key = read_cookie(request)
        if not is_own_form(request, key, str(fields.get(CSRF_FIELD, ""))):
            return await self.maker.page(request, "no_cookie.html", status=403)
        try:
            issued = await _THREADS.run(self._use, str(request.path_params["link"]), key)
        except SpentLinkError:
            return await self.maker.page(request, "spent_link.html", status=410)
        return self._signed_in(request, issued, "/")

    async def leave(self, request: Request) -> Response:
        """Sign out."""
        fields = await request.form(max_files=0, max_fields=10)
        key = read_cookie(request)
        if is_own_form(request, key, str(fields.get(CSRF_FIELD, ""))):
            await _THREADS.run(self._close, key)
        response = _to(request, "/sign-in?signed=out")
        clear_cookie(request, response, embeddable=self.embeddable)
        return response

    async def _form(self, request: Request, trouble: str = "", *, status: int = 200) -> Response:
        wanted = own_path(request.query_params.get("next", ""))
        return await self._page(
            request,
            "sign_in.html",
            status=422 if trouble and status == 200 else status,  # noqa: PLR2004  # the status of a page without one
            trouble=trouble,
            query=f"?{urlencode({'next': wanted})}" if wanted else "",
            signed_out=request.query_params.get("signed") == "out",
            wanted=bool(wanted),
        )

    async def _page(self, request: Request, template: str, *, status: int = 200, **values: object) -> Response:
        """A page with a form before there is a session: its key is no session's, and stays in this browser."""
        key = read_cookie(request)
        fresh = key or new_key()
        response = await self.maker.page(request, template, status=status, key=fresh, **values)
        if not key:
            write_cookie(request, response, fresh, embeddable=self.embeddable)
        return response

    def _signed_in(self, request: Request, issued: IssuedKey, path: str) -> Response:
        response = _to(request, path)
        write_cookie(request, response, issued.key, embeddable=self.embeddable)
        return response

    def _resume(self, key: str) -> Principal | None:
        try:
            with reading(self.deps.sessions) as session:
                return resume_session(session, key, now_ms=self.deps.now_ms())
        except SessionEndedError:
            return None

    def _authenticate(self, token: str) -> Principal:
        with reading(self.deps.sessions) as session:
            return authenticate(session, token, now_ms=self.deps.now_ms())

    def _open(self, token: str, before: str) -> IssuedKey:
        def work(session: Session) -> IssuedKey:
            close_session(session, before)
            return open_session(session, token, now_ms=self.deps.now_ms())

        return transact(self.deps.sessions, work)

    def _use(self, link: str, before: str) -> IssuedKey:
        def work(session: Session) -> IssuedKey:
            issued = use_link(session, link, now_ms=self.deps.now_ms())
            close_session(session, before)
            return issued

        return transact(self.deps.sessions, work)

    def _close(self, key: str) -> None:
        transact(self.deps.sessions, lambda session: close_session(session, key))


def _may_have_a_cookie(request: Request) -> bool:
    """Whether another site caused this request to look at a page, so that a strict cookie was not sent with it.

    A page of ours that loads the same address causes a request of our own, which has the cookie if there is one.
    Without that a link in a mail would seem to end the session, and a page that sets a cookie would really end it.
    """
    from_elsewhere = request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
    return request.method == "GET" and from_elsewhere and not read_cookie(request)


def own_path(text: str) -> str:
    """A path below the portal that is safe to go to after signing in; empty for everything else."""
    fits = len(text) <= _MOST_NEXT_CHARS and _OWN_PATH.fullmatch(text) is not None and not text.startswith("//")
    return text if fits else ""


def _to(request: Request, path: str) -> RedirectResponse:
    return RedirectResponse(request.scope.get("root_path", "") + path, 303)
