"""The portal's one cookie: its attributes, and the CSRF token that is derived from it.

Behind https its name has the prefix `__Host-`, so that no other host of the domain can set it. `SameSite=Strict` keeps
it from requests that other sites cause. In a frame of another site no such cookie is sent: where a deployment allows
that site to embed the portal, and the request is one of a frame, the cookie is `SameSite=None; Partitioned`: it is kept
apart for the embedding site, and other sites that frame or call us cause requests without it.

Source: RFC 6265bis, sections 4.1.3 and 5.6.7; CHIPS (draft-cutler-httpbis-partitioned-cookies).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from hookstream.subscriptions.portal_sessions import SESSION_S

_NAME: Final = "hookstream_portal"
_FRAMES: Final = ("iframe", "frame", "embed", "object")


def is_secure(request: Request) -> bool:
    """Whether the browser speaks https: with us, or with the proxy before us, which says so."""
    forwarded = request.headers.get("x-forwarded-proto", "").partition(",")[0].strip().lower()
    return (forwarded or request.url.scheme) == "https"


def read_cookie(request: Request) -> str:
    """The key in it, empty without one."""
    return request.cookies.get(_name(request), "")


def write_cookie(request: Request, response: Response, key: str, *, embeddable: bool) -> None:
    """Let the browser keep a key for as long as a session lasts."""
    _set(request, response, f"{key}; Max-Age={SESSION_S}", embeddable=embeddable)


def clear_cookie(request: Request, response: Response, *, embeddable: bool) -> None:
    """Let the browser forget it."""
    _set(request, response, "; Max-Age=0", embeddable=embeddable)


def csrf_token(key: str) -> str:
    """What a form of the holder of this key carries; another site cannot know it, nor derive the key from it."""
    digest = hashlib.sha256(b"hookstream portal form\0" + key.encode()).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def is_own_form(request: Request, key: str, token: str) -> bool:
    """Whether a form was on one of our pages, in the browser that has this key."""
    from_here = request.headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none")
    return from_here and bool(key) and hmac.compare_digest(csrf_token(key).encode(), token.encode())


def _name(request: Request) -> str:
    return f"__Host-{_NAME}" if is_secure(request) else _NAME


def _set(request: Request, response: Response, value: str, *, embeddable: bool) -> None:
    framed = embeddable and is_secure(request) and request.headers.get("sec-fetch-dest") in _FRAMES
    attributes = "SameSite=None; Partitioned" if framed else "SameSite=Strict"
    secure = "; Secure" if is_secure(request) else ""
    response.headers.append("Set-Cookie", f"{_name(request)}={value}; Path=/; HttpOnly; {attributes}{secure}")
