"""What processes use of the machine, from Linux' /proc."""

from __future__ import annotations

import os
import platform
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_KIB_PER_MIB = 1024
_LOOPS = 200_000
_LISTENS = "0A"  # the state of a socket in /proc/net/tcp


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far, all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def family_cpu_seconds(pid: int) -> float:
    """User and system time of a process and of all that it has started, those that have ended included."""
    return sum(_own_and_ended_s(each) for each in (pid, *descendants(pid)))


def _own_and_ended_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):  # it has just ended, and its parent has its time
        return 0.0
    return sum(map(int, fields[11:15])) / _TICKS_PER_S


def family_mib(pid: int) -> float:
    """The memory of a process and of all that it has started, now; what several share counts once, in parts."""
    found = 0.0
    for each in (pid, *descendants(pid)):
        with suppress(FileNotFoundError, ProcessLookupError):
            found += memory_of(each).pss_mib
    return found


def descendants(pid: int) -> list[int]:
    """Processes that a process has started, and those that they have."""
    found, waiting = [], [pid]
    while waiting:
        began = children(waiting.pop())
        found += began
        waiting += began
    return found


def children(pid: int) -> list[int]:
    """Processes that a process has started and that have not ended."""
    found: list[int] = []
    with suppress(FileNotFoundError, ProcessLookupError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found


class ThreadUsage(NamedTuple):
    """CPU time of one thread so far. Threads of Python have the process's name, librdkafka's begin with `rdk:`."""

    name: str
    user_s: float
    system_s: float


def threads_of(pid: int) -> dict[int, ThreadUsage]:
    """Every thread of a process, by its id; the main thread's is the process's."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            head, _, rest = (task / "stat").read_text().rpartition(")")
        except (FileNotFoundError, ProcessLookupError):  # it has just ended
            continue
        fields = rest.split()
        user_s, system_s = int(fields[11]) / _TICKS_PER_S, int(fields[12]) / _TICKS_PER_S
        found[int(task.name)] = ThreadUsage(head.partition("(")[2], user_s, system_s)
    return found


def listener(port: int) -> int | None:
    """The process that listens on a port of this machine; None where there is none that we may look at."""
    tables = [table for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")) if table.exists()]
    rows = [line.split() for table in tables for line in table.read_text().splitlines()[1:]]
    sockets = {
        f"socket:[{row[9]}]" for row in rows if row[3] == _LISTENS and int(row[1].rpartition(":")[2], 16) == port
    }
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if any(str(file.readlink()) in sockets for file in (process / "fd").iterdir()):
                return int(process.name)
    return None


def peak_mib(pid: int) -> float:
    """The most memory that a process has had."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / _KIB_PER_MIB


class Memory(NamedTuple):
    """Memory of a process now. PSS: what it has alone, and its share of what it has with others."""

    rss_mib: float
    pss_mib: float


def memory_of(pid: int) -> Memory:
    """RSS and PSS of a process."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    rss, pss = (int(rollup.partition(f"\n{name}:")[2].split()[0]) for name in ("Rss", "Pss"))
    return Memory(rss / _KIB_PER_MIB, pss / _KIB_PER_MIB)


def loop_ms() -> float:
    """How fast a core is: CPU time of a loop that is always the same, the least of five, in milliseconds."""
    return round(1000 * min(_loop_s() for _ in range(5)), 1)


def _loop_s() -> float:
    began, total = time.process_time(), 0
    for number in range(_LOOPS):
        total += number * number
    return time.process_time() - began


def machine() -> dict[str, object]:
    """How many cores there are, how busy they are with other things, and the Python that is measured."""
    load = round(os.getloadavg()[0], 2)
    return {"cores": os.cpu_count(), "load_average": load, "python": platform.python_version()}
