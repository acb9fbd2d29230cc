"""A person with a browser: what they click, what went wrong on a page, and what axe says of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from axe_playwright_python.sync_playwright import Axe

from tests.support.wait import WITHIN_S

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, Route

# WCAG 2.2 AA, and what axe calls good practice.
_AXE: dict[str, Any] = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    "resultTypes": ["violations"],
}
# What a person needs to find a thing and to act on it; Fitts' law and Nielsen's figures lie below it.
SECONDS_AN_ACTION = 3.0
# A test event goes by a replayer, a router's table, a worker and the attempt log before a page shows its answer.
_WAIT_MS = round(WITHIN_S * 1000)
_TELEPHONE = 500


class Visitor:
    """Counts actions; `faults` are errors of scripts, refusals of the CSP, and requests to other hosts."""

    def __init__(  # noqa: PLR0913  # options, all by name
        self,
        browser: Browser,
        url: str,
        *,
        javascript: bool = True,
        scheme: Literal["light", "dark"] = "light",
        width: int = 1280,
        only_here: bool = True,
        https: bool = False,
        expected: tuple[str, ...] = (),
    ) -> None:
        """Open a tab in a session of its own; `https` says that a proxy before the portal speaks it.

        `expected` are parts of console messages that are no faults.
        """
        self.url = url
        self.faults: list[str] = []
        self.actions = 0
        self._expected = expected
        self._context = browser.new_context(
            java_script_enabled=javascript,
            color_scheme=scheme,
            viewport={"width": width, "height": _height(width)},
            reduced_motion="reduce",
            extra_http_headers={"x-forwarded-proto": "https"} if https else {},
        )
        self._context.set_default_timeout(_WAIT_MS)
        self.page: Page = self._context.new_page()
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.faults.append(f"script: {error}"))
        if only_here:
            self._context.route("**/*", self._stay)

    def close(self) -> None:
        """Close the tab."""
        self._context.close()

    def open(self, path: str) -> None:
        """Go to a page of the portal, or to a URL."""
        answer = self.page.goto(path if path.startswith("http") else self.url + path)
        assert answer is not None
        assert answer.ok, f"{path}: {answer.status}"

    def sign_in(self, token: str) -> None:
        """Use the first page."""
        self.open("/sign-in")
        self.fill("Token", token)
        self.press("Sign in")
        self.page.get_by_role("button", name="Sign out").wait_for()

    def press(self, name: str, *, inside: Locator | None = None) -> None:
        """Click a button."""
        self.click((inside or self.page).get_by_role("button", name=name, exact=True))

    def follow(self, name: str, *, inside: Locator | None = None) -> None:
        """Click a link."""
        self.click((inside or self.page).get_by_role("link", name=name))

    def click(self, what: Locator) -> None:
        """Click the first of them."""
        self.actions += 1
        what.first.click()

    def fill(self, label: str, text: str, *, inside: Locator | None = None) -> None:
        """Type into a field."""
        self.actions += 1
        (inside or self.page).get_by_label(label, exact=True).first.fill(text)

    def choose(self, label: str, option: str) -> None:
        """Choose from a list."""
        self.actions += 1
        self.page.get_by_label(label, exact=True).first.select_option(option)

    def check(self, label: str) -> None:
        """Tick a box."""
        self.actions += 1
        self.page.get_by_label(label, exact=True).first.check()

    def sees(self, text: str) -> None:
        """Wait until the page says it; without scripts, by loading it anew."""
        self.page.get_by_text(text).first.wait_for()

    @property
    def text(self) -> str:
        """What the page says."""
        return self.page.locator("body").inner_text()

    def look(self, scheme: Literal["light", "dark"], width: int) -> None:
        """See the same page in the dark, or on another screen."""
        self.page.emulate_media(color_scheme=scheme)
        self.page.set_viewport_size({"width": width, "height": _height(width)})

    def violations(self, rule: str | None = None) -> list[str]:
        """What axe finds on the page, by one rule or by all."""
        options = _AXE if rule is None else {**_AXE, "runOnly": [rule]}
        found = Axe().run(self.page, options=options).response["violations"]
        return [f"{self.page.url}: {each['id']}: {node['html'][:200]}" for each in found for node in each["nodes"]]

    def overflow(self) -> int:
        """By how many pixels the page is wider than the window."""
        width: int = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        return width

    @property
    def seconds(self) -> float:
        """How long a person takes for the actions so far."""
        return self.actions * SECONDS_AN_ACTION

    def _said(self, message: ConsoleMessage) -> None:
        known = any(part in message.text for part in self._expected)
        if message.type in ("error", "warning") and not known:
            self.faults.append(f"console: {message.text} ({message.location.get('url')})")

    def _stay(self, route: Route) -> None:
        """Let no request leave for another host: pages carry everything with them."""
        here = self.url.rpartition("/portal")[0]
        if route.request.url.startswith((f"{here}/", "data:")):
            route.continue_()
        else:
            self.faults.append(f"request to {route.request.url}")
            route.abort()


def _height(width: int) -> int:
    """Of a window, or of a telephone."""
    return 720 if width > _TELEPHONE else 844
