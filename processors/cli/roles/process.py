"""A role as a process of its own, and threads that stand and fall together."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import structlog

from hookstream.processors import logs
from hookstream.processors.cli.console import CommandError
from hookstream.processors.deadline import Deadline
from hookstream.processors.errors import StoppedError
from hookstream.processors.last_answers import Component, LastAnswers
from hookstream.processors.lifecycle import Health, StopSignal
from hookstream.processors.metrics import Metrics
from hookstream.processors.open_files import raise_limit
from hookstream.processors.serving.health import HealthServer
from hookstream.processors.settings import Settings, variable

log = structlog.get_logger("hookstream.process")


@dataclass(frozen=True, slots=True)
class Running:
    """What a role is given by the process that it runs in. Every role waits for Kafka first."""

    stop: StopSignal = field(default_factory=StopSignal)
    health: Health = field(default_factory=lambda: Health("kafka"))
    metrics: Metrics = field(default_factory=Metrics)


def run_process(
    name: str,
    settings: Settings,
    role: Callable[[Running], None],
    *,
    needs: Mapping[Component, Callable[[], object]],
    listener: socket.socket | None = None,
) -> None:
    """Run a role in the main thread until SIGTERM or SIGINT; the second signal ends the process at once.

    `needs` are what the role needs, each with a question that shows whether it answers: readiness and metrics
    say how long one has been silent.
    Without a `listener` that it serves itself, `/healthz`, `/readyz` and `/metrics` are served on METRICS_PORT.

    Raises:
        CommandError: the port is taken.
        Exception: what ended the role.
    """
    logs.configure(level=settings.log_level, form=settings.log_format)
    raise_limit()
    running = Running()
    running.stop.catch_signals()
    answers = LastAnswers(needs)
    running.health.watch(answers.silent)
    running.metrics.last_answers_s = answers.ages_s
    answers.start()
    server: HealthServer | None
    if listener is None:
        server = _health_server(name, settings, running)
        url = _url(settings.api_host, server.port)
    else:
        server, url = None, url_of(listener)
    log.info("started", role=name, url=url)
    try:
        role(running)
    except StoppedError:
        log.info("stopped while waiting", role=name)
    except Exception as exc:
        log.error("ended", role=name, reason=str(exc) or type(exc).__name__)  # noqa: TRY400  # the caller shows it
        raise
    else:
        log.info("stopped", role=name)
    finally:
        answers.stop()
        if server is not None:
            server.stop()


def _health_server(role: str, settings: Settings, running: Running) -> HealthServer:
    host, port = settings.api_host, settings.metrics_port_of(role)
    try:
        server = HealthServer(host=host, port=port, health=running.health, metrics=running.metrics)
    except OSError as exc:
        raise _cannot_listen(host, port, exc, "metrics_port") from exc
    server.start()
    return server


def listen(host: str, port: int, *, chosen_by: str | None = None) -> socket.socket:
    """A listening socket; port 0 takes a free one. `chosen_by` is the option that has the port, if no setting has.

    Raises:
        CommandError: the port is taken, or the host is none of ours.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as exc:
        raise _cannot_listen(host, port, exc, "api_port", chosen_by) from exc


def url_of(listener: socket.socket) -> str:
    """URL of what a socket listens on."""
    return _url(*listener.getsockname()[:2])


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _cannot_listen(host: str, port: int, exc: OSError, setting: str, option: str | None = None) -> CommandError:
    reason = (exc.strerror or str(exc)).partition(" (while attempting")[0]  # Python's own addition repeats us
    chosen_by = f"{variable(setting)} chooses another port, {variable('api_host')} another host"
    if option is not None:
        chosen_by = f"{option} chooses another port"
    return CommandError(f"cannot listen on {host}:{port}: {reason}; {chosen_by}")


class ThreadGroup:
    """Threads of one process. The first that fails asks all to stop, and its error is what `join` raises."""

    def __init__(self, stop: StopSignal) -> None:
        """No thread runs yet."""
        self._stop = stop
        self._threads: list[threading.Thread] = []
        self._failures: list[BaseException] = []

    def start(self, name: str, work: Callable[[], None]) -> None:
        """Run `work` in a thread of its own, until it returns."""

        def run() -> None:
            try:
                work()
            except StoppedError:
                pass
            except BaseException as exc:  # noqa: BLE001  # whatever it was, the process ends, and `join` raises it
                self._failures.append(exc)
                self._stop.ask()

        thread = threading.Thread(target=run, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def join(self, timeout_s: float) -> None:
        """Wait until every thread has ended.

        Raises:
            BaseException: what the first one failed with.
            CommandError: one has not ended in time.
        """
        deadline = Deadline.after(timeout_s)
        for thread in self._threads:
            thread.join(deadline.remaining_s)
        if self._failures:
            raise self._failures[0]
        late = [thread.name for thread in self._threads if thread.is_alive()]
        if late:
            message = f"{', '.join(late)} did not stop within {timeout_s:g} s"
            raise CommandError(message)
