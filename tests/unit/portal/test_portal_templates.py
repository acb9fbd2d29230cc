"""Templates and pieces of the portal that need no request."""

from __future__ import annotations

import re

import pytest

from hookstream.subscriptions.portal.calls import Call
from hookstream.subscriptions.portal.rendering import STATIC, TEMPLATES, age, clip, duration, environment, moment, until
from hookstream.subscriptions.portal.sign_in import own_path

# What the portal's content security policy refuses, in templates and in what the script writes.
INLINE = re.compile(r"""\sstyle=|\son[a-z]+=|<style|<script(?![^>]*\ssrc=)|javascript:|\|\s*safe\b""", re.IGNORECASE)
MOST_BYTES = 30_000


@pytest.mark.parametrize("path", sorted(TEMPLATES.iterdir()), ids=lambda path: path.name)
def test_no_template_has_inline_code_or_unescaped_text(path: object) -> None:
    text = (TEMPLATES / str(path)).read_text()
    assert INLINE.findall(text) == []
    environment().get_template((TEMPLATES / str(path)).name)


@pytest.mark.parametrize("path", sorted(TEMPLATES.iterdir()), ids=lambda path: path.name)
def test_every_form_that_writes_has_the_csrf_field(path: object) -> None:
    text = (TEMPLATES / str(path)).read_text()
    forms = re.findall(r"<form[^>]*method=\"post\".*?</form>", text, re.DOTALL)
    assert [form for form in forms if "csrf" not in form] == []


def test_what_a_browser_loads_once_is_small() -> None:
    assert sum(path.stat().st_size for path in STATIC.iterdir()) < MOST_BYTES


def test_templates_escape_and_know_their_values() -> None:
    made = environment().from_string("{{ text }}")
    assert made.render(text="<b>&\"'") == "&lt;b&gt;&amp;&#34;&#39;"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (-5, "0 s"),
        (0.02, "20 ms"),
        (59.9, "59 s"),
        (61, "1 min 1 s"),
        (3600, "1 h"),
        (3601, "1 h"),
        (90_000, "1 d 1 h"),
    ],
)
def test_durations_have_two_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_times_are_told_in_utc_and_as_an_age() -> None:
    assert str(moment(0)) == '<time datetime="1970-01-01T00:00:00Z">1970-01-01 00:00:00</time>'
    assert "1 min ago" in age(0, 60_000)
    assert "in 1 min" in until(60_000, 0)
    assert "now" in until(0, 1)
    assert age(None, 0) == until(None, 0)
    assert "9999" in moment(1e30)


def test_long_texts_are_clipped() -> None:
    assert clip("abcdef", 4) == "abc…"
    assert clip("abcd", 4) == "abcd"


def test_a_call_is_a_curl_command_that_a_shell_reads_as_it_is() -> None:
    call = Call.get("/endpoints", client="4'; rm -rf /", state=None, cursor="")
    token = '-H "Authorization: Bearer $HOOKSTREAM_API_TOKEN"'
    assert call.curl("https://h") == f"curl {token} 'https://h/endpoints?client=4%27%3B+rm+-rf+%2F'"
    call = Call.post("/endpoints/1-a/pause", {"reason": "it's"})
    body = """'{"reason":"it'"'"'s"}'"""
    assert call.curl("https://h") == f"curl {token} --json {body} https://h/endpoints/1-a/pause"
    assert Call.post("/hooks/1/enable").curl("https://h") == f"curl -X POST {token} https://h/hooks/1/enable"


@pytest.mark.parametrize(
    "text", ["//x", "https://x", "x", "", "/\\x", "/a b", "/a\n", "/é", "/a#b", "/" + "a" * 3000, "/?a=//x\\"]
)
def test_no_other_host_is_gone_to_after_signing_in(text: str) -> None:
    assert own_path(text) == ""


@pytest.mark.parametrize("text", ["/", "/endpoints", "/endpoints/434-ab?client=4&cursor=a-b_c", "/a%2Fb"])
def test_a_page_of_ours_is_gone_to_after_signing_in(text: str) -> None:
    assert own_path(text) == text
