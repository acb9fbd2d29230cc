"""The HTTP client alone: requests a second and CPU per request, plain and TLS, against a receiver of its own.

Requests carry what a delivery carries, signed; the receiver runs in another process and shares the machine's cores.
"""

from __future__ import annotations

import asyncio
import cProfile
import pstats
import resource
import subprocess
import sys
import tempfile
import time
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING

import trustme
import uvloop

from benchmarks.figures import Figure
from benchmarks.running import Size, arguments, main
from hookstream.processors.delivery.http.address_guard import AddressGuard
from hookstream.processors.delivery.http.client import Answer, HttpClient, HttpClientConfig, parse_target
from hookstream.processors.delivery.http.resolver import SystemResolver
from hookstream.processors.delivery.http.signing import Signer

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

BODY = b'{"event":"property.updated","client":9999,"concept":{"id":888999,"namespace":"property","sub_namespace":null}}'
SIZES = (
    Size("requests", 100_000, 10_000, "requests by each scheme"),
    Size("in-flight", 64, 64, "requests at once"),
)


async def post_all(url: str, ca_file: Path | None, options: argparse.Namespace) -> tuple[float, float]:
    """Make the requests; return requests a second and CPU microseconds per request."""
    client = HttpClient(
        HttpClientConfig(ca_file=ca_file),
        AddressGuard([ip_network("127.0.0.0/8")]),
        SystemResolver(),
        report_error=lambda where, error: print(f"internal error in {where}: {error!r}"),
    )
    target = parse_target(url)
    signer = Signer([b"k" * 32])
    finished = asyncio.get_running_loop().create_future()
    sent = answered = 0

    def post() -> None:
        nonlocal sent
        sent += 1
        client.post(
            target,
            b"content-type: application/json\r\nuser-agent: hookstream/0.2.0\r\nhookstream-attempt: 1\r\n"
            b"hookstream-sequence: events.property:0:%d\r\nhookstream-occurred-at: %d\r\n%b"
            % (sent, time.time() * 1000, signer.header_lines(b"msg_%032x" % sent, int(time.time()), BODY)),
            BODY,
            done,
        )

    def done(answer: Answer) -> None:
        nonlocal answered
        if finished.done():
            return
        if answer.status != 200:  # noqa: PLR2004 (OK)
            finished.set_exception(RuntimeError(f"{answer}"))
            return
        answered += 1
        if sent < options.requests:
            post()
        elif answered == options.requests:
            finished.set_result(None)

    started, cpu_before = time.perf_counter(), cpu_seconds()
    for _ in range(min(options.in_flight, options.requests)):
        post()
    await finished
    seconds, cpu = time.perf_counter() - started, cpu_seconds() - cpu_before
    await client.close()
    return options.requests / seconds, cpu / options.requests * 1e6


def cpu_seconds() -> float:
    """CPU time of this process so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def run(scheme: str, options: argparse.Namespace) -> tuple[float, float]:
    """Start a receiver, measure, stop it."""
    with tempfile.TemporaryDirectory() as folder:
        arguments: list[str] = []
        ca_file = None
        if scheme == "https":
            authority = trustme.CA()
            certificate = authority.issue_cert("127.0.0.1")
            ca_file, chain, key = (Path(folder, name) for name in ("ca.pem", "chain.pem", "key.pem"))
            authority.cert_pem.write_to_path(ca_file)
            chain.write_bytes(b"".join(part.bytes() for part in certificate.cert_chain_pems))
            certificate.private_key_pem.write_to_path(key)
            arguments = ["--cert", str(chain), "--key", str(key)]
        receiver = subprocess.Popen(  # noqa: S603 (our own file)
            [sys.executable, str(Path(__file__).with_name("receiver.py")), "--port", "0", *arguments],
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            port = int(receiver.stdout.readline().rsplit(":", 1)[1])  # type: ignore[union-attr]  # it is a pipe
            rate, cpu_us = uvloop.run(post_all(f"{scheme}://127.0.0.1:{port}/t/bench", ca_file, options))
        finally:
            receiver.terminate()
            receiver.wait()
    return rate, cpu_us


def measure(options: argparse.Namespace) -> tuple[Sequence[Figure], Sequence[str]]:
    """Both schemes."""
    figures: list[Figure] = []
    for scheme in ("http", "https"):
        rate, cpu_us = run(scheme, options)
        figures += [
            Figure(name=scheme, value=rate, unit="/s"),
            Figure(name=f"{scheme} CPU", value=cpu_us, unit="µs/request"),
        ]
    return figures, []


def show_profile(options: argparse.Namespace) -> None:
    """Print where the time goes, by function."""
    profile = cProfile.Profile()
    profile.runcall(measure, options)
    pstats.Stats(profile).sort_stats("tottime").print_stats(25)


def _more(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--profile", action="store_true", help="print where the time goes instead")


if __name__ == "__main__":
    chosen = arguments(__doc__, SIZES, more=_more)
    if chosen.profile:
        show_profile(chosen)
    else:
        main("http_client", chosen, lambda: measure(chosen))
