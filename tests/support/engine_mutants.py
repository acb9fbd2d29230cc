"""Bugs to plant in the engine, each of which the judge has to find, and the way to plant them.

A mutant is a list of edits of the shipped source: (file, text that stands there once, text to put in its place). So the
engine carries no switches for its tests, and a refactoring that moves a decision has to move its mutant along.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from hookstream.processors.delivery import checkpoints
from hookstream.processors.delivery.engine import engine
from tests.support.engine_model import Kit

if TYPE_CHECKING:
    from collections.abc import Iterator

Edit = tuple[str, str, str]

# The copies of both folders lie in one package; imports of the shipped modules have to find the copies.
_SHIPPED = re.compile(r"hookstream\.processors\.delivery\.(?:engine|checkpoints)\.")

# Of the checkpoints' modules those that read and write what the engine says; of the engine's all.
_CHECKPOINTS = ("varints", "commit_metadata", "commit_state", "state_codec", "partition_start")


@dataclass(frozen=True)
class Mutant:
    """One planted bug: what it does, how, and whether it needs many clients to do harm."""

    meaning: str
    edits: tuple[Edit, ...]
    crowded: bool = False


def _mutant(meaning: str, *edits: Edit) -> Mutant:
    return Mutant(meaning, edits)


def _crowded(meaning: str, *edits: Edit) -> Mutant:
    return Mutant(meaning, edits, crowded=True)


_WITH_PROGRESS = "    _progress = None\n\n    def __init__(\n        self,\n        *,\n        offset: int,"

MUTANTS = {
    "quarantine_told_at_once": _mutant(
        "a quarantine is told when it begins, not when it has lasted",
        ("notices", "told.quarantined_ms and wall_ms >= self._quarantine_due_ms(told):", "told.quarantined_ms:"),
    ),
    "each_dead_letter_told": _mutant(
        "dead letters are told one by one, however soon after each other",
        ("notices", "dead is not None and wall_ms >= self._dead_due_ms(told):", "dead is not None:"),
    ),
    "end_told_once": _mutant(
        "the end of a quarantine is forgotten when it is told, not when Kafka has it",
        (
            "notices",
            "        told.unacknowledged = notice\n",
            (
                "        told.unacknowledged = notice\n"
                "        if notice.name is NoticeName.ENDPOINT_RECOVERED:\n"
                "            told.told_ms = 0\n"
            ),
        ),
    ),
    "refused_quarantine_lost": _mutant(
        "a quarantine of which Kafka refused a notice is not told when it has ended, though an earlier owner told it",
        (
            "notices",
            "                told.perhaps_told_ms = notice.since_ms or 0\n",
            "                told.perhaps_told_ms = 0\n",
        ),
    ),
    "refused_count_lost": _mutant(
        "dead letters of a notice that Kafka refused are not told again",
        (
            "notices",
            "told.dead, told.telling, told.dead_told_ms = told.dead_untold, None, 0",
            "told.telling, told.dead_told_ms = None, 0",
        ),
    ),
    "expiring_told_when_it_began": _mutant(
        "a backlog is told to expire when it begins",
        (
            "notices",
            "return oldest_ms + _ms(self._policy.expire_after_s) - self._expiring_lead_ms()",
            "return oldest_ms",
        ),
    ),
    "restored_notices_are_lost": _mutant(
        "what a restored state says of an endpoint is not written again before a hook leads to it",
        ("snapshot", "    told += ledger.restored.told(stream.index, ledger.wall_ms)\n", ""),
    ),
    "dead_letter_of_what_is_in_flight": _mutant(
        "what an operator skips becomes a dead letter while it is in flight, and another when it has failed",
        (
            "isolation",
            "pending.offset not in stream.dead_letters_pending and pending.offset not in stream.in_flight:",
            "pending.offset not in stream.dead_letters_pending:",
        ),
    ),
    "held_hook_forgets_what_its_last_owner_settled": _mutant(
        "a cursor of a hook begins where a restored resource cursor rejoined, below what the last owner settled",
        ("ledger", "mine and mine[0].offset < backlog.known_from:", "mine and mine[0].offset < 0:"),
    ),
    "rejoined_resource_forgets_what_its_last_owner_settled": _mutant(
        "a cursor of a hook holds what the last owner settled of a resource whose restored cursor began above it",
        ("ledger", "mine and backlog.resources_from:", "mine and False:"),
    ),
    "fruitless_round_drops_a_new_cursor": _mutant(
        "the probes drop a cursor that opened for what was read while they read the other log",
        (
            "probes",
            "elif self._scan(endpoint, walk, self._ledger.streams[LIVE]) < self._ledger.streams[LIVE].position:",
            "elif False:",
        ),
    ),
    "silence_strands_a_cursor": _mutant(
        "a cursor that retention has emptied while its endpoint was silent does not rejoin",
        (
            "answers",
            "self._timers.at(endpoint.health.retry_after_until, lambda: ledger.go_on(endpoint))",
            "self._timers.at(endpoint.health.retry_after_until, lambda: self._ready.wake_lanes(endpoint))",
        ),
    ),
    "cursor_off_by_one": _mutant(
        "a cursor starts one above its oldest record",
        (
            "ledger",
            "        start = mine[0].offset if mine else stream.position\n",
            "        start = mine[0].offset + 1 if mine else stream.position\n",
        ),
    ),
    "lane_ignores_cursor": _mutant(
        "live reading does not skip what is pending from a cursor",
        (
            "live_reading",
            "hook.backlogs[stream_index].cursor_for(delivery.resource) if stream.hooks_with_cursor else None\n",
            "None\n",
        ),
    ),
    "dispatch_past_cursor": _mutant(
        "catch-up sends any buffered record, not the lane's head",
        (
            "sending",
            ("self._may_send(buffered[0], lane)\n            if row is not None:\n                return buffered[0]"),
            (
                "self._may_send(buffered[-1], lane)\n"
                "            if row is not None:\n"
                "                return buffered[-1]"
            ),
        ),
    ),
    "merge_ignores_scan": _mutant(
        "a lane does not wait for the scan of another cursor of the endpoint",
        (
            "sending",
            "cursor.scan <= offset and not hook.held",
            "cursor.scan <= offset and False",
        ),
    ),
    "early_handover": _mutant(
        "hand-over two records before the scan reaches the live position",
        (
            "hand_over",
            "cursor.scan >= position for",
            "cursor.scan >= position - 2 for",
        ),
    ),
    "handover_while_rereading": _mutant(
        "hand-over although live reading still skips what the restored commit calls settled",
        (
            "hand_over",
            "endpoint.health.waits(ledger.now) or stream.position < stream.restored_settled.end:",
            "endpoint.health.waits(ledger.now):",
        ),
    ),
    "handover_hook_alone": _mutant(
        "a hook of an endpoint that is served from its backlog hands over without the others",
        (
            "hand_over",
            ("        if endpoint.from_backlog[stream.index]:\n            return [hooks] if hooks else []\n"),
            "        endpoint.from_backlog[stream.index] = False\n",
        ),
    ),
    "handover_drops_buffer": _mutant(
        "hand-over forgets what is buffered",
        (
            "ledger",
            ("            endpoint = hook.endpoint\n            self.leave_lane(pending)\n"),
            ("            endpoint = hook.endpoint\n            self.leave_lane(pending)\n            continue\n"),
        ),
    ),
    "settle_before_dead_letter_ack": _mutant(
        "a dead letter settles when produced",
        (
            "isolation",
            "            self._effects.dead_letter(stream.index, pending, reason)\n",
            (
                "            self._effects.dead_letter(stream.index, pending, reason)\n"
                "            self._ledger.settle(stream, pending.offset, pending.hook, pending.resource)\n"
                "            stream.dead_letters_pending[pending.offset] = reason\n"
            ),
        ),
    ),
    "lane_passes_dead_letter": _mutant(
        "the next record goes while the dead letter is not acknowledged",
        (
            "sending",
            "            head = queue[0]\n",
            (
                "            dead_letters_pending = self._ledger.streams[stream].dead_letters_pending\n"
                "            head = next((p for p in queue if p.offset not in dead_letters_pending), queue[0])\n"
            ),
        ),
        (
            "sending",
            "        buffered = lane.buffers[stream]\n",
            (
                "        dead_letters_pending = self._ledger.streams[stream].dead_letters_pending\n"
                "        buffered = [p for p in lane.buffers[stream] if p.offset not in dead_letters_pending]\n"
            ),
        ),
    ),
    "forget_resource_exception": _mutant(
        "a quarantine forgets the endpoint's resource cursors",
        (
            "ledger",
            "        start = mine[0].offset if mine else stream.position\n",
            (
                "        start = mine[0].offset if mine else stream.position\n"
                "        for cursor in list(backlog.resource_cursors.values()) if resource is None else []:\n"
                "            self.rewind_cursor(cursor)\n"
                "            self.drop_cursor(hook, stream, cursor)\n"
            ),
        ),
    ),
    "quarantine_moves_down": _mutant(
        "a quarantine starts at the lowest resource cursor, which it swallows",
        (
            "ledger",
            "        start = mine[0].offset if mine else stream.position\n",
            (
                "        start = mine[0].offset if mine else stream.position\n"
                "        for cursor in list(backlog.resource_cursors.values()) if resource is None else []:\n"
                "            start = min(start, cursor.next)\n"
                "            self.rewind_cursor(cursor)\n"
                "            self.drop_cursor(hook, stream, cursor)\n"
            ),
        ),
    ),
    "breaker_counts_one_resource": _mutant(
        "one failing resource opens the breaker",
        (
            "endpoint_health",
            "        if self.several_resources and not failures.several:\n            return False\n",
            "",
        ),
    ),
    "breaker_opens_on_two_failures": _mutant(
        "two failures in a row open the breaker, however soon one follows the other",
        ("endpoint_health", "now - failures.began_at >= self._policy.breaker_after_s", "failures.count >= 2"),
    ),
    "breaker_has_no_minimum": _mutant(
        "any failure that may open the breaker does",
        ("endpoint_health", "now - failures.began_at >= self._policy.breaker_after_s", "True"),
    ),
    "breaker_forgets_successes": _mutant(
        "a success between failures does not matter",
        ("endpoint_health", "        if self.failures is not None:\n", "        if False:\n"),
    ),
    "breaker_waits_for_time": _mutant(
        "many failures in a row do not open the breaker before the time is over",
        ("endpoint_health", "lasting or failures.count >= self._policy.breaker_in_a_row", "lasting"),
    ),
    "breaker_waits_for_many": _mutant(
        "failure for however long does not open the breaker before there are many",
        (
            "endpoint_health",
            "lasting or failures.count >= self._policy.breaker_in_a_row",
            "failures.count >= self._policy.breaker_in_a_row",
        ),
    ),
    "probes_start_late": _mutant(
        "the first probe waits as long as the later ones",
        (
            "endpoint_health",
            "self._policy.concurrency_start)\n        self.probe_times.schedule(now)\n",
            "self._policy.concurrency_start)\n        self.probe_times.due = now + self._policy.probe_steady_s\n",
        ),
    ),
    "probes_come_as_fast_as_the_first": _mutant(
        "the pauses between probes do not grow",
        ("retry_schedule", "        pause *= 2\n", ""),
    ),
    "probes_never_slow_down": _mutant(
        "an endpoint that is down for hours is probed as often as at first",
        ("retry_schedule", "    doublings = max(0, failed - policy.probe_steady_probes + 1)\n", "    doublings = 0\n"),
    ),
    "probes_slow_down_at_once": _mutant(
        "the pauses between probes double without a steady time between",
        ("retry_schedule", "failed - policy.probe_steady_probes + 1)", "failed + 1)"),
    ),
    "schedule_begins_late": _mutant(
        "the first retry comes after five seconds",
        ("policy", "    1.0,\n    5.0,\n    30.0,\n", "    5.0,\n"),
    ),
    "failures_lower_the_limit_for_good": _mutant(
        "a success does not give back the concurrency that failures before it took",
        ("endpoint_health", "            self.limit = self._usual_limit\n", ""),
    ),
    "failures_leave_the_limit": _mutant(
        "an endpoint that gives nothing but failure keeps its concurrency",
        (
            "endpoint_health",
            "            return False\n        self.limit = max(self.limit / 2, 1.0)\n",
            "            return False\n",
        ),
    ),
    "flaky_lane_leaves_its_hooks_cursor": _mutant(
        "each lane that fails while its endpoint catches up gets a cursor of its own",
        (
            "answers",
            "        return backlog.cursor is not None and resource not in backlog.resource_cursors\n",
            "        return False\n",
        ),
    ),
    "late_lane_stays_in_its_hooks_buffer": _mutant(
        "a lane that waits for long stays in the buffer of its hook",
        (
            "answers",
            "        if crowded or wait_s > self._policy.retry_in_buffer_s:\n",
            "        if crowded:\n",
        ),
    ),
    "poison_lane_fills_its_hooks_buffer": _mutant(
        "a lane that fails stays in the buffer of its hook, however many records it holds there",
        (
            "answers",
            "        if crowded or wait_s > self._policy.retry_in_buffer_s:\n",
            "        if wait_s > self._policy.retry_in_buffer_s:\n",
        ),
    ),
    "no_retarget_barrier": _mutant(
        "the new endpoint is used while the old one is in flight",
        (
            "sending",
            "        if hook.in_flight and hook.in_flight_to is not lane.endpoint:\n",
            "        if False:\n",
        ),
    ),
    "absent_means_deleted": _mutant(
        "a hook the table does not know is cancelled",
        (
            "ledger",
            "        if row is None or row.revision < delivery.hook_revision:\n",
            (
                "        if row is None:\n"
                "            return Standing.CANCELLED\n"
                "        if row.revision < delivery.hook_revision:\n"
            ),
        ),
    ),
    "id_before_revision": _mutant(
        "another hook id cancels, even in an older row",
        (
            "ledger",
            "        if row is None or row.revision < delivery.hook_revision:\n",
            (
                "        if row is not None and row.id != delivery.hook_id:\n"
                "            return Standing.CANCELLED\n"
                "        if row is None or row.revision < delivery.hook_revision:\n"
            ),
        ),
    ),
    "schedule_is_one_attempt_short": _mutant(
        "the last attempt of a schedule is not made",
        ("retry_schedule", "attempts > len(schedule):", "attempts >= len(schedule):"),
    ),
    "exhausted_schedule_outlasts_a_success": _mutant(
        "a resource whose schedule ran out once gets one attempt a record for ever",
        (
            "answers",
            "            if clocks and clocks.pop(pending.resource, None) is not None:\n",
            "            if clocks and clocks.get(pending.resource, None) is not None:\n",
        ),
    ),
    "probe_spends_attempt": _mutant(
        "a failed probe spends an attempt",
        (
            "answers",
            ("        if quarantined:\n            return\n"),
            ("        if quarantined and not post.probe:\n            return\n"),
        ),
        (
            "answers",
            "        if post.probe or hook.endpoint is not endpoint:\n",
            "        if hook.endpoint is not endpoint:\n",
        ),
    ),
    "probe_head_only": _mutant(
        "probes always take the same record",
        (
            "probes",
            "                walk.heads.append(head)\n",
            "                walk.heads.appendleft(head)\n",
        ),
        (
            "probes",
            "                walk.tried += 1\n",
            "",
        ),
    ),
    "probe_from_buffer": _mutant(
        "probes take only what catch-up happens to have buffered",
        (
            "probes",
            "        if scan is None or offset < scan or walk.has_seen(stream.index, resource):\n",
            (
                "        owner = hook.backlogs[stream.index].cursor_for(resource)\n"
                "        if scan is None or owner is None or offset not in owner.buffer:\n"
                "            return True\n"
                "        if walk.has_seen(stream.index, resource):\n"
            ),
        ),
    ),
    "probe_walk_goes_on_after_a_change": _mutant(
        "the probes' walk does not begin again when a hook below it comes back",
        (
            "table_changes",
            "            self._probes.forget(hook.endpoint)\n",
            "",
        ),
    ),
    "skip_repeated_after_restart": _mutant(
        "a start skips what arrived before now, not before not_before",
        (
            "ledger",
            "        if delivery.arrived_ms < row.not_before_ms and stream == LIVE:\n",
            (
                "        born = self.__dict__.setdefault('born', self.wall_ms)\n"
                "        if row.not_before_ms and delivery.arrived_ms < born and stream == LIVE:\n"
            ),
        ),
    ),
    "retry_after_ignored": _mutant(
        "Retry-After is an ordinary failure",
        (
            "answers",
            "        elif verdict is Verdict.BUSY:\n",
            "        elif False:\n",
        ),
    ),
    "refused_is_tried_again": _mutant(
        "a refusal is an ordinary failure",
        (
            "answers",
            "refused=outcome.refused and present)",
            "refused=False)",
        ),
        (
            "answers",
            "        elif verdict is Verdict.REFUSED:  # by an endpoint that is up\n",
            "        elif False:\n",
        ),
    ),
    "refusal_forgets_the_lane": _mutant(
        "what was refused is settled before Kafka has its dead letter",
        (
            "isolation",
            "            self.dead_letter(stream, pending, DeadLetterReason.REFUSED)\n",
            (
                "            self.dead_letter(stream, pending, DeadLetterReason.REFUSED)\n"
                "            self._ledger.settle(stream, pending.offset, pending.hook, pending.resource)\n"
            ),
        ),
    ),
    "old_target_refuses_for_the_new": _mutant(
        "a refusal of a target that the hook does not have any more is a dead letter",
        (
            "answers",
            "refused=outcome.refused and present)",
            "refused=outcome.refused)",
        ),
    ),
    "gone_counts_for_present_row": _mutant(
        "a 410 disables under the row at answer time",
        (
            "answers",
            "row.id == hook.id and row.revision == post.row.revision:",
            "row.id == hook.id:",
        ),
    ),
    "full_window_waits_for_flight": _mutant(
        "a full window waits for the request that holds its head",
        (
            "live_reading",
            "        self._isolation.evict_oldest(stream, oldest)\n",
            (
                "        if oldest.offset not in stream.in_flight:\n"
                "            self._isolation.evict_oldest(stream, oldest)\n"
            ),
        ),
    ),
    "full_window_takes_lane_after_lane": _mutant(
        "where a full window waits for endpoints that are slow, lane after lane gets a cursor, up to a quarantine",
        ("isolation", "elif self._waits_for_others(stream, oldest, hook.endpoint):", "elif False:"),
    ),
    "slow_answers_leave_one_request_at_a_time": _mutant(
        "an endpoint that answers slowly gets one request at a time",
        (
            "endpoint_health",
            "max(self.limit / 2, min(self.limit, self._policy.concurrency_slow))",
            "max(self.limit / 2, 1.0)",
        ),
    ),
    "quarantine_keeps_sending": _mutant(
        "catch-up goes on in a quarantine",
        (
            "sending",
            ("        if health.breaker_open:\n            return self._take_probe(endpoint)\n"),
            "",
        ),
        (
            "endpoint_health",
            "        return self.breaker_open or self.paused or now < self.retry_after_until\n",
            "        return self.paused or now < self.retry_after_until\n",
        ),
    ),
    "replay_ignores_owed": _mutant(
        "a replay goes although its resource has a pending delivery",
        (
            "sending",
            (
                "            and backlog.cursor_for(pending.resource) is None\n"
                "            and not any(waiting.hook is pending.hook for waiting in lane.windows[LIVE])\n"
            ),
            "",
        ),
    ),
    "replay_ignores_unread": _mutant(
        "a replay does not wait for the live position",
        (
            "sending",
            ("            live.position >= pending.delivery.live_end\n            and "),
            "            ",
        ),
    ),
    "settled_forgotten": _mutant(
        "what a resource cursor settled is forgotten when it goes",
        (
            "ledger",
            (
                "        backlog.remember(offset, resource, lowest=stream.position - self.policy.window_records)\n"
                "        if stream.dead_letters_pending:"
            ),
            "        if stream.dead_letters_pending:",
        ),
    ),
    "restored_cursor_takes_what_was_settled_with_it": _mutant(
        "what came settled with a restored cursor is forgotten when that cursor has passed it and has rejoined",
        ("ledger", "        for offset in cursor.settled:  # which", "        for offset in ():  # which"),
    ),
    "state_newer_than_offset": _mutant(
        "the offset of a commit ignores the lowest unsettled record",
        (
            "tracker",
            ("        base = self.base\n        flags ="),
            ("        base = min(self.base + 1, self.position)\n        flags ="),
        ),
    ),
    "rate_limit_ignored": _mutant(
        "a hook's rate limit is not kept",
        (
            "sending",
            "        if hook.tokens >= 1.0:\n",
            "        if True:\n",
        ),
    ),
    "concurrency_ignored": _mutant(
        "an endpoint's concurrency limit is not kept",
        (
            "sending",
            "        if endpoint.in_flight >= health.limit and not health.breaker_open:\n",
            "        if False:\n",
        ),
    ),
    "disabled_after_any_failure": _mutant(
        "the five-day clock strikes at once",
        (
            "isolation",
            "ledger.wall_ms - since > self._policy.disable_after_s * 1000",
            "ledger.wall_ms - since > 0",
        ),
    ),
    "five_days_forgotten": _mutant(
        "the five-day clock never strikes",
        (
            "isolation",
            "ledger.wall_ms - since > self._policy.disable_after_s * 1000",
            "False",
        ),
    ),
    "success_keeps_five_day_clock": _mutant(
        "a success does not stop the five-day clock",
        (
            "endpoint_health",
            "        self.failing_since_ms = self.busy_streak = 0\n",
            "        self.busy_streak = 0\n",
        ),
    ),
    "expiry_unseen": _mutant(
        "what is too old is settled without a dead letter",
        (
            "isolation",
            "            self._effects.dead_letter(stream.index, pending, reason)\n",
            (
                "            if reason is DeadLetterReason.EXPIRED:\n"
                "                self._ledger.settle(stream, pending.offset, pending.hook, pending.resource)\n"
                "                return\n"
                "            self._effects.dead_letter(stream.index, pending, reason)\n"
            ),
        ),
    ),
    "retention_uncounted": _mutant(
        "what retention passes is not counted",
        (
            "catch_up",
            "                lost += low - cursor.scan\n",
            "",
        ),
    ),
    "replay_state_is_live_state": _mutant(
        "a replay's commit points to the cursors of the live stream",
        (
            "snapshot",
            "        backlog = hook.backlogs[stream.index]\n        cursors +=",
            "        backlog = hook.backlogs[LIVE]\n        cursors +=",
        ),
    ),
    "disable_forgotten_by_state": _mutant(
        "a disable does not outlive the process",
        ("snapshot", "            hook.disabled_under = found.revision\n", "            return\n"),
    ),
    "pause_ignored_by_probes": _mutant(
        "a paused endpoint is probed",
        (
            "sending",
            "        if health.paused or now < health.retry_after_until:\n",
            "        if (health.paused and not health.breaker_open) or now < health.retry_after_until:\n",
        ),
    ),
    "pause_ignored": _mutant(
        "a pause changes nothing",
        ("operator_settings", "            health.paused = True\n", ""),
    ),
    "skip_ignored_behind_cursors": _mutant(
        "what an operator skipped is sent when catch-up or a probe comes to it",
        (
            "sending",
            "        if skips.some and skips.covers(pending.delivery):\n",
            "        if pending.in_window and skips.some and skips.covers(pending.delivery):\n",
        ),
        (
            "cursor_scans",
            "        if hook.endpoint is not None and hook.endpoint.skips.covers(delivery):\n",
            "        if False:\n",
        ),
    ),
    "single_skip_ignored": _mutant(
        "a single delivery that an operator skipped is sent",
        (
            "skips",
            "        return since < self.drained_before_ms or since < self.single.get(delivery.id, 0)\n",
            "        return since < self.drained_before_ms\n",
        ),
    ),
    "single_skip_forgets_the_probes": _mutant(
        "a single delivery that an operator skipped is probed with",
        (
            "sending",
            "        if endpoint.skips.covers(head.delivery):\n",
            "        if head.delivery.owed_since_ms < endpoint.skips.drained_before_ms:\n",
        ),
    ),
    "resent_is_skipped_again": _mutant(
        "what was resent from the dead letters goes back there",
        (
            "skips",
            "        since = delivery.owed_since_ms\n",
            "        since = delivery.arrived_ms\n",
        ),
    ),
    "resume_forgets_the_lanes": _mutant(
        "an endpoint that is resumed is served from its backlog for ever",
        (
            "operator_settings",
            "            health.paused = False\n            ledger.touched[endpoint] = None\n",
            "            ledger.touched[endpoint] = None\n",
        ),
    ),
    "commit_before_state_ack": _mutant(
        "the acknowledgement of a state that was given up lets the next commit point to it",
        ("commit_state", "if written is not self._writing or waiting is None:", "if waiting is None:"),
    ),
    "commit_newer_than_state": _mutant(
        "the commit takes offset and settled set when sent, the state is older",
        (
            "commit_state",
            "            snapshot = view.snapshot()  # (1)\n",
            "            snapshot = view.snapshot()  # (1)\n            self._progress = view.progress\n",
        ),
        (
            "commit_state",
            "self._send(waiting.offset, waiting.settled, pointer,",
            "self._send(*self._progress(), pointer,",
        ),
        ("commit_state", "    def __init__(\n        self,\n        *,\n        offset: int,", _WITH_PROGRESS),
    ),
    "commit_without_its_cursors": _mutant(
        "a commit points to an older state that lacks a cursor",
        ("commit_state", "        if not covers:\n", "        if False:\n"),
    ),
    "commit_back_to_an_older_state": _mutant(
        "after a commit whose answer was lost, the next points to the state before it",
        ("commit_state", "due or (not self._perhaps_arrived and", "due or (True and"),
    ),
    "commit_back_after_a_failed_write": _mutant(
        "a state that is not written ends what is remembered of a commit whose answer was lost",
        (
            "commit_state",
            "            snapshot = view.snapshot()  # (1)\n",
            "            snapshot = view.snapshot()  # (1)\n            self._perhaps_arrived = False\n",
        ),
    ),
    "first_state_waits": _mutant(
        "a state that a commit waits for is not written before it is time to look at it",
        ("commit_state", "        if due or (now >= self._write_at and not covers):\n", "        if due:\n"),
    ),
    "zombie_state_used": _mutant(
        "a start reads the newest state, even a zombie's, not the one the commit points to",
        ("state_codec", "|{self.partition}|{self.state_id.hex()}|{self.chunk}", "|{self.partition}|{self.chunk}"),
    ),
    "state_deleted_while_pointed_to": _mutant(
        "a state gets its tombstone although the new commit points to it as well",
        (
            "commit_state",
            "if self._pointer is not None and self._pointer != commit.pointer:\n            replaced",
            "if self._pointer is not None:\n            replaced",
        ),
    ),
    "chunk_forgotten": _mutant(
        "the last chunk of a state is not written",
        (
            "state_codec",
            "for at in range(0, len(data), size)]",
            "for at in range(0, len(data) - size, size)] or [data]",
        ),
    ),
    "settled_offsets_not_stored": _mutant(
        "a stored cursor forgets what is settled above it",
        (
            "state_codec",
            "        settled = _read_offsets(reader, next_offset)\n",
            "        settled = _read_offsets(reader, next_offset)[:0]\n",
        ),
    ),
    "start_takes_any_offset": _mutant(
        "an offset that was reset, or is gone, is taken although a state exists",
        ("partition_start", "        if state_exists:\n", "        if False:\n"),
    ),
    "start_takes_a_foreign_commit": _mutant(
        "a commit of another topic is taken",
        ("partition_start", "metadata.log_digest != identity.log_digest:", "False:"),
    ),
    "start_forgets_the_settled_set": _mutant(
        "a start delivers again what is settled above the committed offset",
        ("tracker", "        return 0 <= index < 8 * len(self._bits) and", "        return False and"),
    ),
    "cancelled_counts_as_settled": _mutant(
        "a request that a revocation cancels counts as answered",
        (
            "answers",
            "        self._end_request(post)\n\n    def _end_request",
            (
                "        self._end_request(post)\n"
                "        stream = self._ledger.streams[post.pending.stream]\n"
                "        self._ledger.settle(stream, post.pending.offset, post.hook, post.pending.resource)\n"
                "\n    def _end_request"
            ),
        ),
    ),
    "probe_turn_forgets_a_lane_with_a_dead_letter": _mutant(
        "a lane whose head was on its way to the dead letters is not looked for again while others have heads",
        ("probes", "        walk.replaced = walk.replaced or walk.awaits_dead_letter\n", ""),
    ),
    "probe_turn_forgets_a_lane": _mutant(
        "a lane whose head was dropped from the probes' turn is not looked for again",
        (
            "probes",
            "                    walk.replaced = True  #",
            "                    walk.replaced = walk.replaced  #",
        ),
    ),
    "settled_is_forgotten_before_it_is_read_again": _mutant(
        "a commit forgets what the restored one called settled and that is not re-read yet",
        ("stream", "restored if self.position < restored.end else None", "None"),
    ),
    "settled_is_owed_after_a_start": _mutant(
        "a cursor that opens after a start holds what the restored commit calls settled above it",
        ("live_reading", "        if cursor is None or not cursor.restored:\n", "        if cursor is None:\n"),
    ),
    "retention_strands_a_cursor": _mutant(
        "a cursor whose whole backlog retention took is not handed over",
        ("ledger", "        self.touched[endpoint] = None\n        self.ready.wake", "        self.ready.wake"),
    ),
    "retention_leaves_a_lane_asleep": _mutant(
        "what waited behind a cursor that retention has moved is not offered again",
        ("catch_up", "                    self._ledger.go_on(", "                    self._ledger.touched.setdefault("),
    ),
    "restart_strands_a_cursor": _mutant(
        "a restored cursor that owes nothing is not handed over when the live reading arrives where it stands",
        ("rejoining", "stream.position >= stream.restored_to:", "stream.position < 0:"),
    ),
    "replay_hides_a_live_head": _mutant(
        "the probes do not see a live head that is read after a replay of its lane, which waits for it",
        ("probes", "for seen in self.seen[: stream + 1])", "for seen in self.seen)"),
    ),
    "retarget_leaves_a_lane_asleep": _mutant(
        "what waited behind a record that its hook took to another target is not offered again",
        ("table_changes", "dict.fromkeys((left, hook.endpoint))", "dict.fromkeys((hook.endpoint,))"),
    ),
    "held_hook_leaves_a_lane_asleep": _mutant(
        "what waited behind a hook that is disabled now is not offered again",
        (
            "isolation",
            (
                "        ledger.changes += 1\n"
                "        if hook.endpoint is not None:\n"
                "            ledger.go_on(hook.endpoint)\n"
            ),
            "        ledger.changes += 1\n",
        ),
        (
            "table_changes",
            "                if endpoint is not None:\n                    self._ledger.go_on",
            "                if endpoint is not None and not hook.held:\n                    self._ledger.go_on",
        ),
    ),
    "late_row_leaves_a_lane_asleep": _mutant(
        "what waited behind a record whose row did not come is not offered again",
        (
            "isolation",
            (
                "        self._ledger.open_cursor(hook, stream)\n"
                "        if hook.endpoint is not None:\n"
                "            self._ledger.go_on(hook.endpoint)\n"
            ),
            "        self._ledger.open_cursor(hook, stream)\n",
        ),
    ),
    "share_does_not_shrink": _crowded(
        "a client fills its own cap, however many others are active",
        (
            "fair_share",
            "        return mine < free * self._part / (1 + age_s / self._fast_s)\n",
            "        return free > 0\n",
        ),
    ),
    "nothing_is_kept": _crowded(
        "no places are kept for endpoints that answer quickly",
        (
            "fair_share",
            "        self._reserved = policy.process_in_flight * _RESERVED\n",
            "        self._reserved = 0.0\n",
        ),
    ),
    "age_ignored": _crowded(
        "a share does not shrink with the age of what is in flight",
        ("fair_share", " / (1 + age_s / self._fast_s)\n", "\n"),
    ),
    "retarget_hides_slowness": _crowded(
        "an endpoint that its client was moved to begins with nothing known",
        (
            "fair_share",
            "            age_s = max(age_s, now - client.sent_sum / client.in_flight)\n        return age_s, False\n",
            "            age_s = 0.0\n        return age_s, False\n",
        ),
    ),
    "unknown_is_kept_out": _crowded(
        "a client of which nothing is known waits for those that hang",
        (
            "fair_share",
            "            free -= self._reserved if mine or age_s > self._fast_s else",
            "            free -= self._reserved if True else",
        ),
    ),
    "quick_waits_with_the_others": _crowded(
        "the kept places are for no endpoint",
        ("fair_share", "        if not quick:  # half", "        if True:  # half"),
    ),
    "held_clients_are_forgotten": _crowded(
        "a client that waits for its share is not asked again when requests of others end",
        (
            "dispatcher",
            "            self._held[client] = None\n        return False\n",
            "            pass\n        return False\n",
        ),
    ),
    "client_cap_ignored": _crowded(
        "a client has more in flight than its cap",
        (
            "fair_share",
            "        if mine >= (self._client_cap if quick else self.unreserved):\n",
            "        if False:\n",
        ),
    ),
    "cancelled_keeps_its_place": _mutant(
        "a request that a revocation cancels keeps its place",
        (
            "answers",
            "        self._end_request(post)\n\n    def _end_request",
            "        self._end_request(post)\n        self._dispatcher.in_flight += 1\n\n    def _end_request",
        ),
    ),
}


def plant(mutant: Mutant, name: str, folder: Path) -> Kit:
    """Copy the engine with the bug in it, and load the copy beside the shipped one.

    Raises: AssertionError if a text to replace does not stand exactly once in its file.
    """
    package = write_copy(mutant, name, folder)
    return load(package, folder / package)


def write_copy(mutant: Mutant, name: str, folder: Path) -> str:
    """Write the copy with the bug in it as a package of `folder`, and give the package's name."""
    package = f"planted_{name}"
    home = folder / package
    home.mkdir()
    (home / "__init__.py").write_text("")
    for module, text in edited(mutant, name).items():
        (home / f"{module}.py").write_text(_SHIPPED.sub(f"{package}.", text))
    return package


def edited(mutant: Mutant, name: str) -> dict[str, str]:
    """The text of every module with the bug in it.

    Raises: AssertionError if a text to replace does not stand exactly once in its file.
    """
    home, beside = (Path(str(shipped.__file__)).parent for shipped in (engine, checkpoints))
    paths = [path for path in home.glob("*.py") if path.name != "__init__.py"]
    texts = {path.stem: path.read_text() for path in [*paths, *(beside / f"{each}.py" for each in _CHECKPOINTS)]}
    for module, old, new in mutant.edits:
        found = texts[module].count(old)
        assert found == 1, f"{name}: the text to replace stands {found} times in {module}.py:\n{old}"
        texts[module] = texts[module].replace(old, new)
    return texts


def load(package: str, home: Path) -> Kit:
    """Import a copy."""
    spec = importlib.util.spec_from_file_location(package, home / "__init__.py", submodule_search_locations=[str(home)])
    assert spec is not None
    assert spec.loader is not None
    root = importlib.util.module_from_spec(spec)
    sys.modules[package] = root
    spec.loader.exec_module(root)
    return Kit(**dict(_kit_modules(package)))


def _kit_modules(package: str) -> Iterator[tuple[str, ModuleType]]:
    for field in Kit.__dataclass_fields__:
        yield field, importlib.import_module(f"{package}.{field}")


def forget(name: str) -> None:
    """Unload a planted copy."""
    for module in [m for m in sys.modules if m.split(".")[0] == f"planted_{name}"]:
        del sys.modules[module]
