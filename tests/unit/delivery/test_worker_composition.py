"""What a worker is composed of: every part that the package has is in it, or this test says why not.

A part that only its own tests make has no effect, and nothing else would tell.
"""

from __future__ import annotations

import asyncio
import enum
import importlib
import inspect
import pkgutil
from dataclasses import replace
from types import BuiltinMethodType, CellType, FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from hookstream.processors import delivery
from hookstream.processors.cli.roles.deliver import http_config
from hookstream.processors.delivery.attempts import producer
from hookstream.processors.delivery.checkpoints.commit_metadata import log_digest, table_digest
from hookstream.processors.delivery.checkpoints.partition_lookup import PartitionStarting, StreamStarting
from hookstream.processors.delivery.checkpoints.partition_start import LogIdentity, StartAt
from hookstream.processors.delivery.engine.model import LIVE
from hookstream.processors.delivery.engine.partition_state import EMPTY_STATE
from hookstream.processors.delivery.group.inbox import AssignedPartition, Inbox
from hookstream.processors.delivery.http.resolver import SystemResolver
from hookstream.processors.delivery.partitions import record_writer
from hookstream.processors.delivery.partitions.known_schemas import KnownSchemas
from hookstream.processors.delivery.partitions.owned_partition import OwnedPartition
from hookstream.processors.delivery.worker.composition import compose
from hookstream.processors.delivery.worker.failure import Failure
from hookstream.processors.delivery.worker.internal_errors import InternalErrors
from hookstream.processors.delivery.worker.worker import RunningWorker
from hookstream.processors.delivery.worker.worker_config import WorkerConfig, WorkerDeps
from hookstream.processors.delivery.worker.worker_start import FoundAtStart
from hookstream.processors.delivery.worker.worker_tables import WorkerTables
from hookstream.processors.kafka import KafkaConfig
from hookstream.processors.lifecycle import Health, StopSignal
from hookstream.processors.metrics import Metrics
from hookstream.processors.settings import Settings
from hookstream.schemas.hook import HookState
from hookstream.schemas.topics import TopicNames
from hookstream.subscriptions.secrets import MasterKey, SecretBox
from tests.support.values import DELIVERY, HOOK

if TYPE_CHECKING:
    from collections.abc import Iterator

PREFIX = f"{delivery.__name__}."

ELSEWHERE = {
    "a value, made where something happens": {
        "checkpoints.commit_metadata.CommitMetadata",
        "checkpoints.commit_metadata.StatePointer",
        "checkpoints.commit_state.SendCommit",
        "checkpoints.commit_state.WriteState",
        "checkpoints.partition_start.StartAt",
        "checkpoints.varints.VarintReader",
        "engine.cursor_scans.Stretch",
        "engine.endpoint_health.FailuresInARow",
        "engine.model.Cursor",
        "engine.model.Post",
        "engine.outcome.Outcome",
        "engine.partition_state.Snapshot",
        "engine.partition_state.StoredClock",
        "engine.partition_state.StoredCursor",
        "engine.partition_state.StoredDisable",
        "engine.partition_state.StoredHealth",
        "engine.partition_state.StoredTold",
        "engine.probes.ProbeWalk",
        "engine.retry_schedule.LaneClock",
        "engine.told.DeadLetterCount",
        "http.known_names._Known",
        "http.look_ups.LookUp",
        "http.exchange.Answer",
        "http.exchange.Exchange",
        "http.pool._Kept",
        "http.signing.Signer",
        "http.target.Target",
        "partitions.log_reader._ReadPosition",
        "worker.request_builder.Request",
        "worker.request_builder._Prepared",
        "worker.requests_in_flight._Waiting",
    },
    "made with a connection": {
        "http.answer_reader.AnswerReader",
        "http.connection.HttpConnection",
        "http.proxy_tunnel.ProxyTunnel",
    },
    "with an egress proxy": {"http.connector.EgressProxy"},
    "where traces are wanted": {"attempts.spans.AttemptSpans"},
    "made by the poll thread when it starts": {
        "group.group_member.GroupMember",
        "group.group_rebalance.GroupRebalance",
        "group.group_commits.GroupCommits",
        "checkpoints.partition_lookup.PartitionLookup",
        "checkpoints.state_store.StateReader",
    },
    "makes what runs": {"worker.worker.DeliveryWorker"},
    "of `hookstream recover`": {
        "checkpoints.partition_recovery.Evidence",
        "checkpoints.partition_recovery.FoundState",
        "checkpoints.partition_recovery.Recovery",
    },
}


def parts_of_the_package() -> set[str]:
    """Every class that is no error, no enumeration, no Protocol and no named tuple."""
    found = set()
    for module in pkgutil.walk_packages(delivery.__path__, PREFIX):
        for name, thing in vars(importlib.import_module(module.name)).items():
            if (
                inspect.isclass(thing)
                and thing.__module__ == module.name
                and not issubclass(thing, BaseException | enum.Enum | tuple)
                and not getattr(thing, "_is_protocol", False)
            ):
                found.add(f"{module.name.removeprefix(PREFIX)}.{name}")
    return found


def inside(thing: Any) -> list[Any]:
    """What an object holds: attributes, elements, and what its functions are bound to."""
    if isinstance(thing, MethodType | BuiltinMethodType):  # the latter: a method of a compiled class
        return [thing.__self__, getattr(thing, "__func__", None)]
    if isinstance(thing, FunctionType):
        return [*(thing.__closure__ or ()), *(thing.__defaults__ or ()), *(thing.__kwdefaults__ or {}).values()]
    if isinstance(thing, CellType):
        return [thing.cell_contents]
    if isinstance(thing, dict):
        return [*thing, *thing.values(), *getattr(thing, "__dict__", {}).values()]
    if isinstance(thing, (list, tuple, set, frozenset)):
        return list(thing)
    # A compiled class names its attributes in `__mypyc_attrs__`.
    names = [
        name
        for kind in type(thing).__mro__
        for name in (*getattr(kind, "__slots__", ()), *getattr(kind, "__mypyc_attrs__", ()))
    ]
    return [*getattr(thing, "__dict__", {}).values(), *(getattr(thing, name, None) for name in names)]


def reached(*roots: Any) -> set[str]:
    """The classes of this package of everything that these objects hold."""
    seen: dict[int, Any] = {}  # holds what it has seen: a compiled class makes tuples anew, and ids would come again
    kinds: set[str] = set()
    waiting = list(roots)
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen or isinstance(thing, (ModuleType, type, str, bytes, asyncio.AbstractEventLoop)):
            continue
        seen[id(thing)] = thing
        kind = type(thing)
        if kind.__module__.startswith(PREFIX):
            kinds.add(f"{kind.__module__.removeprefix(PREFIX)}.{kind.__name__}")
        if kind.__module__.startswith(("hookstream.", "builtins")):
            waiting += inside(thing)
    return kinds


class Registry:
    """A registry that nothing is asked of."""

    def schema_text_by_id(self, schema_id: int, /) -> str:
        raise AssertionError(schema_id)


class Producer:
    """A producer that takes nothing."""

    def __init__(self, *_: object) -> None:
        pass


def composed(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Compose a worker as its role does, with one partition of one endpoint; give the parts that are in it."""
    for module in (producer, record_writer):
        monkeypatch.setattr(module, "make_producer", Producer)
    settings = Settings(kafka_bootstrap_servers="127.0.0.1:1")
    identity = LogIdentity(log_digest("c", "t"), table_digest("s"))
    config = WorkerConfig(
        kafka=KafkaConfig(bootstrap_servers="127.0.0.1:1"),
        topics=TopicNames(),
        catalogue=settings.catalogue(),
        policy=settings.engine_policy(),
        http=http_config(settings),
    )
    found = FoundAtStart(
        schema_ids=dict.fromkeys(
            (
                config.topics.deliveries,
                config.topics.dead_letters,
                config.topics.attempts,
                config.topics.hook_notices,
                config.topics.events("hookstream"),
            ),
            1,
        ),
        identities=(identity, identity),
    )
    metrics = Metrics()
    registry: Any = Registry()
    deps = WorkerDeps(
        registry=registry,
        secrets=SecretBox((MasterKey(b"k" * 32),)),
        stop=StopSignal(),
        health=Health(),
        metrics=metrics,
        internal_errors=InternalErrors(metrics),
        resolver=SystemResolver(),
        spans=None,
    )

    async def main() -> set[str]:
        loop = asyncio.get_running_loop()
        failure = Failure(loop, deps.internal_errors)
        schemas = KnownSchemas(registry.schema_text_by_id)
        tables = WorkerTables(config.kafka, config.topics, registry.schema_text_by_id, loop, failure.fail_from_thread)
        made = compose(config, deps, tables=tables, schemas=schemas, failure=failure, found=found)
        start = StreamStarting(StartAt(0, None), EMPTY_STATE)
        given = AssignedPartition(PartitionStarting(0, (start, start)), (Inbox(), Inbox()))
        made.handover._deps.partitions.add(
            part := OwnedPartition(made.handover._deps.shared, given, now=1.0, steady_ms=1)
        )
        tables.rows.apply(0, HOOK.key, replace(HOOK, state=HookState.ENABLED))
        delivery = replace(DELIVERY, client=HOOK.client, event=HOOK.event, hook_id=HOOK.id, hook_revision=HOOK.revision)
        part.engine.read(LIVE, 0, delivery, 1)
        try:
            return reached(RunningWorker(config, deps, made))
        finally:
            made.reading.close()
            made.loop.abandon_all()
            await made.http.close()

    return asyncio.run(main())


@pytest.fixture(scope="module")
def parts() -> Iterator[set[str]]:
    """Compose once."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        yield composed(monkeypatch)


def test_every_part_of_the_package_is_in_the_worker_or_has_a_reason_not_to_be(parts: set[str]) -> None:
    assert sorted(parts_of_the_package() - parts - set().union(*ELSEWHERE.values())) == []


def test_what_is_said_to_be_elsewhere_is_so(parts: set[str]) -> None:
    listed = set().union(*ELSEWHERE.values())
    assert sorted(listed & parts) == [], "it is in the worker"
    assert sorted(listed - parts_of_the_package()) == [], "it is no more"
