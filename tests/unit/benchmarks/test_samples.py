"""Samples of the worker's stack belong to the part that they were taken in."""

from __future__ import annotations

import re

import pytest

from benchmarks.samples import part_of, stacks
from tests.support.repository import ROOT

SCRIPT = """hookstream
\t          1b7001 PyObject_Malloc
\t          1b11be CPyDef_connection___HttpConnection___buffer_updated
\t          130b64 uv__read

hookstream
\tffffffffffffffff [unknown]
\t          7e5fe
"""


def test_a_script_is_read_sample_by_sample() -> None:
    first = ["PyObject_Malloc", "CPyDef_connection___HttpConnection___buffer_updated", "uv__read"]
    assert list(stacks(SCRIPT.splitlines(keepends=True))) == [first, ["[unknown]", "?"]]


@pytest.mark.parametrize(
    ("stack", "part"),
    [
        (["tcp_ack", "entry_SYSCALL_64_after_hwframe", "__GI___libc_write", "uv__write"], "kernel: sending"),
        (["tcp_ack", "entry_SYSCALL_64_after_hwframe", "read", "uv__read"], "kernel: receiving"),
        (["ep_poll", "entry_SYSCALL_64_after_hwframe", "epoll_pwait", "uv__io_poll"], "kernel: other calls"),
        (["ep_poll", "entry_SYSCALL_64_after_hwframe"], "kernel: other calls"),
        (["clear_page", "asm_exc_page_fault", "malloc", "CPyDef_engine___x"], "kernel: faults and interrupts"),
        (["malloc", "CPyDef_ledger___Ledger___settle", "CPyDef_requests_in_flight___x"], "engine"),
        (["malloc", "CPyDef_bytes___AttemptBytes___encode"], "attempt record"),
        (["EVP_Digest", "CPyDef_signing___Signer___sign", "CPyDef_request_builder___x"], "signature"),
        (["llhttp__internal__run", "CPyDef_answer_reader___x"], "HTTP client"),
        (["gc_collect_main", "CPyDef_model___Lane"], "garbage collection"),
        (["_PyEval_EvalFrameDefault", "__pyx_f_6uvloop_4loop_6Handle__run"], "event loop and turns"),
        (["CPyDef_nowhere___x", "uv_run"], "event loop and turns"),
        (["[unknown]"], "nothing known"),
    ],
)
def test_a_sample_belongs_to_the_innermost_function_that_has_a_part(stack: list[str], part: str) -> None:
    assert part_of(stack) == part


def test_every_module_that_is_compiled_for_the_worker_has_a_part() -> None:
    busy = re.search(r"^BUSY = \((.*?)^\)", (ROOT / "setup.py").read_text(), re.MULTILINE | re.DOTALL)
    assert busy
    modules = [name.rpartition("/")[2] for name in re.findall(r'"([^"]+)"', busy[1])]
    assert modules
    assert [name for name in modules if part_of([f"CPyDef_{name}___x"]) == "nothing known"] == []
