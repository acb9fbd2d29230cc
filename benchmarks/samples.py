"""Where the main thread of a worker spends its CPU time, by samples of its stack: `make bench-samples`.

`perf` looks at the native stack of the compiled worker's main thread while it empties a backlog, some hundred times in
each second of CPU. A sample belongs to the innermost function that says what it is done for: one of a compiled module,
the event loop, the HTTP parser, the client library; what the interpreter, the allocator and the kernel do for it is
counted there, but for system calls, which are counted on their own. So every sample has a part, unlike in `breakdown`,
which measures parts alone. Shares become microseconds by the thread's user and system time for each delivery meanwhile.

Sampling costs some CPU itself, all parts alike. Needs `perf` (`linux-perf` of Debian) and the right to use it, which
root has.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.builds import ROOT, compiled, remarks
from benchmarks.figures import Figure
from benchmarks.load import DELIVERIES
from benchmarks.running import Size, arguments, main
from benchmarks.stack import READY_WITHIN_S, NotMeasuredError, Stack, broker, until
from benchmarks.usage import threads_of
from benchmarks.worker import TARGETS

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator, Sequence

SIZES = (
    Size("records", 400_000, 20_000, "deliveries that wait"),
    Size("seconds", 12, 2, "how long samples are taken"),
)
_A_SECOND = 499
_STACK_BYTES = 16_384
_COMPILED_FUNCTION = "CPyDef_"
_KERNEL_ENTRIES = ("entry_SYSCALL_64_after_hwframe", "asm_", "ret_from_", "el0")
_SENDING, _RECEIVING = ("write", "send"), ("read", "recv")
_OF_MODULES = {
    "codec": ("avro_bytes", "deliveries", "delivery", "delivery_bytes", "event_bytes"),
    "attempt record": ("budget", "bytes", "producer"),
    "HTTP client": ("answer_reader", "client", "connection", "exchange", "pool"),
    "signature": ("signing",),
    "request": ("request_builder",),
    "requests under way": ("requests_in_flight", "histogram"),
    "reading of the partition": ("owned_partition",),
    "engine": tuple(path.stem for path in sorted((ROOT / "processors/delivery/engine").glob("*.py"))),
}
_PART_OF = {module: part for part, modules in _OF_MODULES.items() for module in modules}
_BY_TEXT = (
    ("httptools", "HTTP client"),
    ("llhttp", "HTTP client"),
    ("gc_collect_main", "garbage collection"),
    ("Producer_", "attempt record"),
    ("rd_kafka", "attempt record"),
    ("uvloop", "event loop and turns"),
    ("uv_", "event loop and turns"),
)


def part_of(stack: Sequence[str]) -> str:
    """The part that a sample belongs to; `stack`: names of functions, the innermost first."""
    for place, function in enumerate(stack):
        if function.startswith(_KERNEL_ENTRIES):
            caller = stack[place + 1] if place + 1 < len(stack) else ""
            if function.startswith("asm_"):
                return "kernel: faults and interrupts"
            if caller.endswith(_SENDING):
                return "kernel: sending"
            return "kernel: receiving" if caller.endswith(_RECEIVING) else "kernel: other calls"
    for function in stack:
        if function.startswith(_COMPILED_FUNCTION):
            module = function.removeprefix(_COMPILED_FUNCTION).partition("___")[0]
            if module in _PART_OF:
                return _PART_OF[module]
        for text, part in _BY_TEXT:
            if text in function:
                return part
    return "nothing known"


def stacks(script: Iterable[str]) -> Iterator[list[str]]:
    """The stack of each sample that `perf script` prints: a line of the command, its frames, an empty line."""
    frames: list[str] = []
    for line in script:
        if not line.strip():
            if frames:
                yield frames
            frames = []
        elif line[0].isspace():
            _, _, name = line.strip().partition(" ")
            frames.append(name or "?")
    if frames:
        yield frames


def _record(pid: int, seconds: float, data: Path) -> None:
    """Take samples of a process's main thread."""
    call_graph = f"dwarf,{_STACK_BYTES}"
    record = ["perf", "record", "-e", "cpu-clock", "-F", str(_A_SECOND), "--call-graph", call_graph, "-o", str(data)]
    ended = subprocess.run(  # noqa: S603 - a tool that was looked for
        [*record, "-t", str(pid), "--", "sleep", str(seconds)], capture_output=True, text=True, check=False
    )
    if ended.returncode:
        raise NotMeasuredError(f"perf could not take samples: {ended.stderr.strip()[:500]}")


def _counted(data: Path) -> Counter[str]:
    """How many samples each part has."""
    script = ["perf", "script", "-i", str(data), "--no-inline", "-F", "comm,ip,sym"]
    with subprocess.Popen(script, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:  # noqa: S603 - a tool that was looked for
        assert process.stdout is not None  # noqa: S101 - it is piped
        return Counter(part_of(stack) for stack in stacks(process.stdout))


def measure(options: argparse.Namespace) -> tuple[Sequence[Figure], Sequence[str]]:
    """One backlog, and samples while it is emptied."""
    build = compiled()
    if build is None:
        raise NotMeasuredError("there is no compiled build: `make compiled` makes one")
    if shutil.which("perf") is None:
        raise NotMeasuredError("perf is not installed: Debian has it as linux-perf")
    with (
        tempfile.TemporaryDirectory() as folder,
        broker() as servers,
        Stack(servers, environment=build.environment) as stack,
    ):
        stack.publish_hooks(TARGETS)
        stack.fill(DELIVERIES, TARGETS, options.records)
        stack.receiver.reset()
        process = stack.role("deliver").process
        until(lambda: stack.receiver.count().received > options.records // 20, READY_WITHIN_S, what="deliveries")
        before, first = stack.receiver.count().received, threads_of(process.pid)[process.pid]
        data = Path(folder, "samples")
        _record(process.pid, options.seconds, data)
        after, last = stack.receiver.count().received, threads_of(process.pid)[process.pid]
        process.terminate(60.0)
        counted = _counted(data)
    samples, delivered = sum(counted.values()), after - before
    if not samples or delivered <= 0 or after >= options.records:
        raise NotMeasuredError(f"{samples} samples within {delivered} deliveries: give it more --records")
    whole_us = 1e6 * (last.user_s + last.system_s - first.user_s - first.system_s) / delivered
    print(f"main thread, µs of CPU a delivery, {samples:,} samples")
    for part, count in [*counted.most_common(), ("whole", samples)]:
        print(f"  {part:30}{whole_us * count / samples:7.1f} {count / samples:6.1%}", flush=True)
    figures = [Figure(name=part, value=whole_us * count / samples, unit="µs") for part, count in counted.most_common()]
    return [Figure(name="main thread", value=whole_us, unit="µs/delivery"), *figures], remarks()


if __name__ == "__main__":
    chosen = arguments(__doc__, SIZES)
    main("samples", chosen, lambda: measure(chosen))
