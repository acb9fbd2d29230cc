"""Operators: a thread that pauses, disables, skips, replays and so on by the plan, and ends its own pauses."""

from __future__ import annotations

import threading
import time
import uuid
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import httpx

from hookstream.schemas.control import endpoint_id, target_digest
from hookstream.schemas.event import ClientId
from tests.nemesis.endpoints import KINDS
from tests.nemesis.history import Action, HookMade
from tests.support.deployment import Caller

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.nemesis.book import Book
    from tests.nemesis.history import HistoryFile
    from tests.nemesis.plan import Command

_PATIENCE_S = 90.0
_AGAIN_S = 1.0
_POLL_S = 0.2
_REPLAY_POLL_S = 1.0
_REASON = {"reason": "the nemesis"}
RATES = (3.0, 5.0, 8.0)


class Operators:
    """Does what the plan says, and repeats what the API could not take, for a while."""

    def __init__(self, caller: Caller, history: HistoryFile, book: Book) -> None:
        """Use an operator's token."""
        self._caller, self._history, self._book = caller, history, book
        self._hooks: Sequence[HookMade] = ()
        self._ends: list[tuple[float, str, HookMade]] = []
        self._replays: dict[int, tuple[str, HookMade]] = {}
        self._sent: dict[str, int] = {}
        self._asked_replays_at = 0.0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def register(self, index: int, client: int, event: str, target: str, path: str) -> HookMade:
        """Register a hook, with its kind's rate."""
        fields = {"event": event, "target": target, "client": client}
        hook = self._caller("POST", "/hooks", {"hook": fields}).raise_for_status().json()["hook"]
        rate = KINDS[index].rate
        if rate is not None:
            changed = {"hook": {"rate_limit_per_second": rate}}
            self._caller("PATCH", f"/hooks/{hook['id']}", changed).raise_for_status()
        made = HookMade(
            t=self._history.now,
            hook=hook["id"],
            client=client,
            event=event,
            path=path,
            endpoint=endpoint_id(ClientId(str(client)), target_digest(target)),
            secret=hook["secret"],
            rate=rate,
        )
        self._history.add(made)
        return made

    def wait_effective(self, hook: HookMade) -> None:
        """Wait until every router works by a hook, and so by those that were registered before."""
        self._caller.wait_effective(hook.hook, 60.0)

    def start(self, hooks: Sequence[HookMade], commands: Sequence[Command]) -> None:
        """Begin."""
        self._hooks = hooks
        self._thread = threading.Thread(target=self._run, args=(commands,), name="operators", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ask for nothing new, and end every pause."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(_PATIENCE_S * 4)
        for _, what, hook in self._ends:
            self._end(what, hook)
        self._ends.clear()

    def settle(self) -> None:
        """Have everything attempted now, and ask how far replays are."""
        for hook in {self._book_hook(each) for each in self._book.pending().values()}:
            self._endpoint_action("retry", "retry-now", hook, patience_s=10.0)
        self._look_at_replays()

    @property
    def replaying(self) -> bool:
        """Whether a replay is not done, or what it sent has not arrived."""
        sent = all(self._book.of_job(job) >= count for job, count in self._sent.items())
        return bool(self._replays) or not sent

    def state_of(self, delivery: str) -> str:
        """What the API says of a delivery."""
        answer = self._ask("GET", f"/deliveries/{delivery}")
        if answer is None:
            return "no answer"
        return str(answer.json()["delivery"]["state"]) if answer.is_success else f"status {answer.status_code}"

    def _book_hook(self, number: int) -> HookMade:
        return next(hook for hook in self._hooks if hook.hook == number)

    def _run(self, commands: Sequence[Command]) -> None:
        waiting = list(commands)
        while not self._stop.wait(_POLL_S):
            now = self._history.now
            for due in [each for each in self._ends if each[0] <= now]:
                self._ends.remove(due)
                self._end(due[1], due[2])
            if waiting and waiting[0].at <= now:
                self._do(waiting.pop(0))
            if now - self._asked_replays_at > _REPLAY_POLL_S:
                self._look_at_replays()

    def _do(self, command: Command) -> None:
        hook = self._hooks[command.pick % len(self._hooks)]
        match command.what:
            case "pause" | "disable" if not self._ended_later(hook):
                self._begin(command.what, hook, lasts_s=15.0 + 30.0 * command.share)
            case "rate":
                rated = [each for each in self._hooks if each.rate is not None]
                self._change_rate(rated[command.pick % len(rated)], RATES[int(command.share * len(RATES))])
            case "rotate":
                self._rotate(hook)
            case "skip":
                self._skip(hook)
            case "retry":
                self._endpoint_action("retry", "retry-now", hook)
            case "replay":
                self._replay(hook, window_s=30.0 + 120.0 * command.share)
            case "resend":
                self._resend(hook, command.share)

    def _ended_later(self, hook: HookMade) -> bool:
        return any(each.hook == hook.hook for _, _, each in self._ends)

    def _begin(self, what: str, hook: HookMade, *, lasts_s: float) -> None:
        if what == "pause":
            self._endpoint_action("pause", "pause", hook)
        else:
            self._write("disable", str(hook.hook), "POST", f"/hooks/{hook.hook}/disable")
        self._ends.append((self._history.now + lasts_s, what, hook))

    def _end(self, what: str, hook: HookMade) -> None:
        done = (
            self._endpoint_action("resume", "resume", hook)
            if what == "pause"
            else self._write("enable", str(hook.hook), "POST", f"/hooks/{hook.hook}/enable", {"backlog": "resume"})
        )
        if done is None:
            self._ends.append((self._history.now + _AGAIN_S, what, hook))

    def _endpoint_action(
        self, what: str, path: str, hook: HookMade, *, patience_s: float = _PATIENCE_S
    ) -> httpx.Response | None:
        return self._write(
            what, hook.endpoint, "POST", f"/endpoints/{hook.endpoint}/{path}", _REASON, patience_s=patience_s
        )

    def _change_rate(self, hook: HookMade, rate: float) -> None:
        body = {"hook": {"rate_limit_per_second": rate}}
        self._write("rate", str(hook.hook), "PATCH", f"/hooks/{hook.hook}", body, value=str(rate))

    def _rotate(self, hook: HookMade) -> None:
        asked, headers = self._history.now, {"idempotency-key": uuid.uuid4().hex}
        answer = self._ask("POST", f"/hooks/{hook.hook}/secret/rotate", None, _PATIENCE_S * 4, headers)
        done = answer is not None and answer.is_success
        secret = answer.json()["hook"]["secret"] if answer is not None and done else ""
        self._history.add(Action(self._history.now, asked, "rotate", str(hook.hook), done, secret))

    def _skip(self, hook: HookMade) -> None:
        pending = [each for each, whose in self._book.pending().items() if whose == hook.hook]
        if pending:
            body = {**_REASON, "delivery": min(pending)}
            self._write("skip", min(pending), "POST", f"/endpoints/{hook.endpoint}/skip", body)

    def _resend(self, hook: HookMade, share: float) -> None:
        delivered = self._book.delivered_to(hook.hook)
        if delivered:
            delivery = delivered[int(share * len(delivered))]
            asked = self._history.now
            answer = self._ask("POST", f"/deliveries/{delivery}/resend")
            done = answer is not None and answer.is_success
            job = answer.json()["delivery"]["job"] if answer is not None and done else ""
            self._history.add(Action(self._history.now, asked, "resend", delivery, done, job))

    def _replay(self, hook: HookMade, *, window_s: float) -> None:
        if KINDS[int(hook.path.split("/")[1])].refuses:
            return  # a refused delivery does not arrive, and the number that arrived is compared
        from_ms = time.time_ns() // 1_000_000 - int(window_s * 1000)
        fields: dict[str, Any] = {"from_ms": from_ms, "hook_id": hook.hook, "rate_per_second": 20.0}
        asked = self._history.now
        answer = self._ask("POST", "/replays", {"replay": fields})
        done = answer is not None and answer.is_success
        replay: dict[str, Any] = answer.json()["replay"] if answer is not None and done else {"id": -1, "job": ""}
        self._history.add(Action(self._history.now, asked, "replay", str(hook.hook), done, replay["job"]))
        if done:
            self._replays[replay["id"]] = (replay["job"], hook)

    def _look_at_replays(self) -> None:
        """Let counted replays run, and write down how many deliveries one has sent that is done."""
        self._asked_replays_at = self._history.now
        for number, (job, hook) in list(self._replays.items()):
            answer = self._ask("GET", f"/replays/{number}", patience_s=1.0)
            if answer is None or not answer.is_success:
                return
            replay = answer.json()["replay"]
            if replay["state"] == "planned":
                self._ask("PATCH", f"/replays/{number}", {"replay": {"state": "running"}}, 1.0)
            elif replay["state"] in ("done", "cancelled", "failed"):
                del self._replays[number]
                sent = replay["progress"]["sent"] if replay["state"] == "done" else 0
                self._sent[job] = sent
                value, done = f"{job} {sent}", replay["state"] != "failed"
                self._history.add(Action(self._history.now, self._history.now, "replayed", str(hook.hook), done, value))

    def _write(
        self,
        what: str,
        on: str,
        method: str,
        path: str,
        body: object = None,
        *,
        value: str = "",
        patience_s: float = _PATIENCE_S,
    ) -> httpx.Response | None:
        """Ask until it is done or refused, and write it down; None where it was not done."""
        asked = self._history.now
        answer = self._ask(method, path, body, patience_s)
        done = answer is not None and answer.is_success
        self._history.add(Action(self._history.now, asked, what, on, done, value))
        return answer if done else None

    def _ask(
        self,
        method: str,
        path: str,
        body: object = None,
        patience_s: float = _PATIENCE_S,
        headers: dict[str, str] | None = None,
    ) -> httpx.Response | None:
        """Repeat a request while there is no answer, or 5xx; None if it never got another answer."""
        ends = time.monotonic() + patience_s
        url, own = self._caller.url + path, {"authorization": f"Bearer {self._caller.token}", **(headers or {})}
        while True:
            try:
                answer = httpx.request(method, url, json=body, headers=own, trust_env=False, timeout=10)
            except httpx.HTTPError:
                answer = None
            if answer is not None and answer.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
                return answer
            if time.monotonic() > ends:
                return answer
            time.sleep(_AGAIN_S)
