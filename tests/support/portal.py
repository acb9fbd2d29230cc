"""The portal as a browser sees it: a cookie, pages, and forms with what their page put into them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from fastapi.testclient import TestClient

if TYPE_CHECKING:
    from tests.support.subscriptions_api import Answer, Api


@dataclass
class Form:
    """A form of a page: where it goes, and its hidden fields."""

    action: str
    method: str
    fields: dict[str, str] = field(default_factory=dict)


class Page(HTMLParser):
    """What a test looks for in a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(text)
        self.text = re.sub(r"\s+", " ", self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note it."""
        values = {name: value or "" for name, value in attrs}
        self.tags.append(tag)
        self.attributes += values.items()
        if tag == "form":
            self.forms.append(Form(values.get("action", ""), values.get("method", "get")))
        if tag == "input" and values.get("type") == "hidden" and self.forms:
            self.forms[-1].fields[values["name"]] = values["value"]
        if tag == "a" and "href" in values:
            self.links.append(values["href"])

    def handle_data(self, data: str) -> None:
        """Note it; texts of two elements are two words."""
        self.text += f" {data}"

    def form(self, action: str) -> Form:
        """The form that is sent to a path, whatever its query."""
        return next(form for form in self.forms if urlsplit(form.action).path == action)


class Browser:
    """A browser of its own, with its own cookies; it follows no redirect by itself."""

    def __init__(self, api: Api, *, headers: dict[str, str] | None = None) -> None:
        self.http = TestClient(api.app, raise_server_exceptions=False, follow_redirects=False, headers=headers)

    def get(self, path: str, **headers: str) -> Answer:
        """Open a page."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.http.get(f"/portal{path}", headers=sent)

    def page(self, path: str) -> Page:
        """Open a page that is there."""
        answer = self.get(path)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.headers.get('location')}"
        return Page(answer.text)

    def submit(self, path: str, form: Form | None = None, /, **fields: str) -> Answer:
        """Fill in a form that a page has, and send it."""
        hidden = {} if form is None else form.fields
        return self.http.post(f"/portal{path}", data={**hidden, **fields})

    def sign_in(self, token: str) -> Answer:
        """Use the form of the first page."""
        return self.submit("/sign-in", self.page("/sign-in").form("/portal/sign-in"), token=token)


def signed_in(api: Api, token: str) -> Browser:
    """A browser whose person is signed in with this token."""
    browser = Browser(api)
    answer = browser.sign_in(token)
    assert answer.status_code == 303, answer.text
    return browser
