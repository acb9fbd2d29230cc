"""What a broker answers to the question that roles ask every two seconds ends no role."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.brokerless_kafka import BrokerlessKafka
from tests.support.wait import eventually

if TYPE_CHECKING:
    from tests.support.processes import Processes

ASKING = """
import sys, time
from hookstream.processors.errors import KafkaUnavailableError
from hookstream.processors.kafka import KafkaConfig
from hookstream.processors.last_answers import kafka_question

ask = kafka_question(KafkaConfig(bootstrap_servers=sys.argv[1]), "control")
while True:
    try:
        print("answered by cluster", ask(), flush=True)
    except KafkaUnavailableError:
        print("unavailable", flush=True)
    time.sleep(0.02)
"""


def test_a_broker_that_names_no_broker_is_unavailable_for_a_while(processes: Processes) -> None:
    """A broker whose session has ended while it was frozen answers so, until it is registered again."""
    with BrokerlessKafka() as kafka:
        asking = processes.python("-c", ASKING, f"127.0.0.1:{kafka.port}", name="asks")
        asking.wait_until(lambda: "answered by cluster abc" in asking.log_text(), what="answered")
        kafka.alone = True
        asking.wait_until(lambda: "unavailable" in asking.log_text(), what="unavailable")
        kafka.alone = False
        eventually(lambda: asking.log_text().rpartition("unavailable")[2].count("answered") > 2)
        assert asking.running
        assert not kafka.may_create
