"""Which forms are taken for those of our own pages."""

from __future__ import annotations

from starlette.requests import Request

from hookstream.subscriptions.portal.cookies import csrf_token, is_own_form, read_cookie


def posted(**headers: str) -> Request:
    sent = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "POST", "scheme": "http", "path": "/", "headers": sent})


def test_a_form_is_ours_with_the_token_of_its_browser_alone() -> None:
    request = posted(cookie="hookstream_portal=k")
    key = read_cookie(request)
    assert is_own_form(request, key, csrf_token(key))
    assert not is_own_form(request, key, csrf_token("another"))
    assert not is_own_form(request, key, "")
    assert not is_own_form(posted(cookie="hookstream_portal=k", sec_fetch_site="cross-site"), key, csrf_token(key))


def test_a_form_that_comes_without_a_cookie_is_not_ours() -> None:
    """Anyone can compute the token of an empty key, and other sites cause requests without our cookie."""
    for request in (posted(), posted(cookie="hookstream_portal="), posted(cookie="other=k")):
        key = read_cookie(request)
        assert not is_own_form(request, key, csrf_token(key))
