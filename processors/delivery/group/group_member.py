"""One member of the workers' group, from joining to leaving: the only user of the group's consumer.

It hands records to the event loop in batches, through inboxes that both threads may touch, and takes commits back.
Kafka's callbacks (assigned, revoked, lost, committed) run in the poll thread, inside the calls made here.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

import structlog
from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from hookstream.processors.delivery.checkpoints.partition_lookup import PartitionLookup
from hookstream.processors.kafka import (
    ClientConfig,
    TopicPartitionKey,
    consume_batch,
    is_retriable,
    kafka_error,
    make_consumer,
    translated,
)
from hookstream.processors.lifecycle import StopSignal

from .group_commits import GroupCommits, commit_now
from .group_protocol import group_config
from .group_rebalance import GroupRebalance, Loop, PollConfig
from .inbox import Inboxes
from .poll_requests import PollRequests

IDLE_WAIT_S = 0.1

_FULL_WAIT_S = 0.005

log = structlog.get_logger("hookstream.deliver")


class GroupMember:
    """Polls until it is asked to finish. Belongs to the poll thread."""

    def __init__(
        self,
        config: PollConfig,
        loop: Loop,
        stop: StopSignal,
        *,
        requests: PollRequests,
        lookup: PartitionLookup,
        inboxes: Inboxes,
        open_consumer: Callable[[ClientConfig], Consumer] = make_consumer,
    ) -> None:
        """Open the consumer; `poll` joins the group.

        Raises:
            KafkaRefusedError: a configuration that librdkafka refuses, or an assignor that does not fit.
        """
        self._loop = loop
        self._requests = requests
        self._commits = GroupCommits(requests.commits)
        consumer_config, assignment = group_config(config.kafka, config.group, on_commit=self._commits.on_commit)
        self._topics = assignment.subscribed(config.topics)
        self._rebalance = GroupRebalance(
            config,
            loop,
            stop,
            requests=requests,
            lookup=lookup,
            inboxes=inboxes,
            commits=self._commits,
            assignment=assignment,
        )
        self._inboxes = inboxes
        self._consumer = open_consumer(consumer_config)

    def poll(self) -> None:
        """Join the group and read, until it is asked to finish; then make the last commits."""
        rebalance = self._rebalance
        with translated("cannot subscribe to the deliveries"):
            self._consumer.subscribe(
                self._topics,
                on_assign=rebalance.on_assign,
                on_revoke=rebalance.on_revoke,
                on_lost=rebalance.on_lost,
            )
        while not self._requests.finishing.is_set():
            self.step()
        last = [tp for tp in self._requests.last_commits if (tp.topic, tp.partition) in rebalance.held]
        if last:
            commit_now(self._consumer, last)

    def close(self) -> None:
        """Leave the group."""
        self._rebalance.closing = True
        self._consumer.close()

    def step(self) -> None:
        """Do one turn."""
        now = time.monotonic()
        requests, rebalance = self._requests, self._rebalance
        self._commits.note_turn(now, requests.beat)
        requests.beat = now
        inboxes = self._inboxes
        self._commits.send_next(self._consumer, inboxes, now)
        if requests.draining.is_set():
            self._pause(rebalance.held - inboxes.paused)
            with translated("cannot read the deliveries"):
                messages = self._consumer.consume(1, IDLE_WAIT_S)
            self._hand_over(messages)
            return
        if inboxes.full(now):
            pause = inboxes.to_pause(now)
            if pause is None:
                threading.Event().wait(_FULL_WAIT_S)
                return
            self._pause(pause)
        if inboxes.paused:
            self._resume(inboxes.to_resume())
        with translated("cannot read the deliveries"):
            messages = consume_batch(self._consumer, IDLE_WAIT_S)
        if messages:
            self._hand_over(messages)

    def _hand_over(self, messages: Iterable[Message]) -> None:
        """Put records into the inboxes, then wake the loop, once."""
        inboxes, draining, given = self._inboxes, self._requests.draining.is_set(), False
        for message in messages:
            if message.error() is not None:
                self._take_error(message)
                continue
            inbox = inboxes.get((message.topic(), message.partition()))  # type: ignore[arg-type]
            if inbox is not None and not draining:
                inbox.messages.append(message)
                inbox.given += 1
                inbox.given_bytes += len(message)
                given = True
        if given:
            self._loop.arrived()

    def _take_error(self, message: Message) -> None:
        error = message.error()
        if error is None:
            return
        if error.code() == KafkaError._AUTO_OFFSET_RESET:
            self._rebalance.continue_at_low(self._consumer, message.topic() or "", message.partition() or 0)
        elif error.code() == KafkaError._MAX_POLL_EXCEEDED:
            log.warning("this worker was silent for too long and has left its group; it joins again")
        elif not is_retriable(error):
            raise kafka_error(error, "cannot read the deliveries")

    def _pause(self, keys: set[TopicPartitionKey]) -> None:
        if keys:
            with translated("cannot pause"):
                self._consumer.pause([TopicPartition(*key) for key in keys])
            self._inboxes.paused |= keys

    def _resume(self, keys: set[TopicPartitionKey]) -> None:
        if keys:
            with translated("cannot resume"):
                self._consumer.resume([TopicPartition(*key) for key in keys])
            self._inboxes.paused -= keys
