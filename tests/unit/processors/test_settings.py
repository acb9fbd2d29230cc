"""Settings: what is read, how it is refused, and that the documentation says the same."""

from __future__ import annotations

import base64
import os
import re
from ipaddress import ip_network
from pathlib import Path

import pytest

from hookstream.processors.delivery.http.target_rules import TargetRules
from hookstream.processors.errors import SettingsError
from hookstream.processors.settings import METRICS_PORTS, PREFIX, Settings, unknown_variables, variable

KEY = base64.b64encode(bytes(range(32))).decode()
DOCUMENT = Path(__file__).parents[3] / "docs" / "settings.md"


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)


def read(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Settings:
    for name, value in variables.items():
        monkeypatch.setenv(PREFIX + name, value)
    return Settings.read()


def test_nothing_has_to_be_set_to_read_them() -> None:
    assert Settings.read().partitions == 12


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read(monkeypatch, PARTITIONS="", SECRET_KEY="").partitions == 12


def test_values_arrive_in_their_types(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = read(
        monkeypatch,
        KAFKA_BOOTSTRAP_SERVERS="k1:9092,k2:9092",
        KAFKA_OPTIONS='{"security.protocol": "SSL", "socket.timeout.ms": 5000, "log.connection.close": false}',
        ALLOWED_TARGET_NETWORKS="10.0.0.0/8, fd00::/8",
        DENIED_TARGET_NETWORKS="10.1.0.0/16",
        ALLOWED_TARGET_PORTS="443, 8443",
        REQUIRE_HTTPS="true",
        SECRET_KEY=KEY,
        TOPIC_PREFIX="eu.",
    )
    kafka = settings.kafka()
    assert kafka.bootstrap_servers == "k1:9092,k2:9092"
    assert kafka.options == {
        "security.protocol": "SSL",
        "socket.timeout.ms": "5000",
        "log.connection.close": "false",
    }
    assert settings.target_rules() == TargetRules(
        allowed_networks=(ip_network("10.0.0.0/8"), ip_network("fd00::/8")),
        denied_networks=(ip_network("10.1.0.0/16"),),
        allowed_ports=frozenset({443, 8443}),
        require_https=True,
    )
    assert settings.key() == bytes(range(32))
    assert settings.topics().deliveries == "eu.deliveries"


@pytest.mark.parametrize(
    ("field", "needs"),
    [
        ("KAFKA_BOOTSTRAP_SERVERS", lambda s: s.kafka()),
        ("SCHEMA_REGISTRY_URL", lambda s: s.registry_url()),
        ("DATABASE_URL", lambda s: s.database()),
        ("SECRET_KEY", lambda s: s.key()),
        ("API_TOKEN", lambda s: s.token()),
    ],
)
def test_what_is_missing_is_named_when_it_is_needed(field: str, needs: object) -> None:
    assert callable(needs)
    with pytest.raises(SettingsError, match=f"^{PREFIX}{field} is not set(: `hookstream token create` prints .*)?$"):
        needs(Settings.read())


def test_all_that_is_missing_wrong_or_unknown_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("PARTITIONS", "0"), ("COLOUR", "3"), ("DATABASE_URL", ""), ("SECRET_KEY_FILE", "/key")):
        monkeypatch.setenv(f"{PREFIX}{name}", value)
    with pytest.raises(SettingsError) as told:
        Settings.read("kafka_bootstrap_servers", "database_url", "secret_key")
    assert [complaint.partition(":")[0] for complaint in str(told.value).split("; ")] == [
        f"{PREFIX}COLOUR",
        f"{PREFIX}KAFKA_BOOTSTRAP_SERVERS is not set",
        f"{PREFIX}DATABASE_URL is not set",
        f"{PREFIX}PARTITIONS",
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PARTITIONS", "SENTINEL"),
        ("PARTITIONS", "0"),
        ("KAFKA_OPTIONS", '{"sasl.password": "SENTINEL"'),
        ("KAFKA_OPTIONS", '["SENTINEL"]'),
        ("KAFKA_OPTIONS", '{"a": {"b": "SENTINEL"}}'),
        ("SECRET_KEY", "SENTINEL"),
        ("SECRET_KEY", base64.b64encode(b"SENTINEL").decode()),
        ("SECRET_KEY_PREVIOUS", f"{KEY},SENTINEL"),
        ("ALLOWED_TARGET_NETWORKS", "SENTINEL/8"),
        ("ALLOWED_TARGET_NETWORKS", "10.1.2.3/8"),
        ("DENIED_TARGET_NETWORKS", "SENTINEL/8"),
        ("ALLOWED_TARGET_PORTS", "443,SENTINEL"),
        ("ALLOWED_TARGET_PORTS", "0"),
        ("ALLOWED_TARGET_PORTS", "65536"),
        ("ALLOWED_TARGET_PORTS", "9" * 5000),
        ("TOPIC_PREFIX", "SENTINEL/"),
        ("API_PORT", "70000"),
        ("REQUIRE_HTTPS", "SENTINEL"),
        ("LOG_LEVEL", "SENTINEL"),
        ("KAFKA_GROUP_PROTOCOL", "SENTINEL"),
    ],
)
def test_a_wrong_value_is_one_line_with_the_variable_and_without_the_value(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        read(monkeypatch, **{name: value})
    message = str(caught.value)
    assert message.startswith(f"{PREFIX}{name}: ")
    assert "\n" not in message
    assert "SENTINEL" not in message
    assert base64.b64encode(b"SENTINEL").decode() not in message


def test_every_wrong_variable_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match=f"{PREFIX}PARTITIONS.*; {PREFIX}API_PORT"):
        read(monkeypatch, PARTITIONS="x", API_PORT="y")


@pytest.mark.parametrize(
    "variables",
    [
        {"SECRET_KEY": KEY, "SECRET_KEY_FILE": "/somewhere"},
        {"CONNECT_TIMEOUT_S": "20"},
        {"EXPIRE_AFTER_DAYS": "7"},
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    with pytest.raises(SettingsError):
        read(monkeypatch, **variables)


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = read(
        monkeypatch,
        SECRET_KEY=KEY,
        API_TOKEN="SENTINEL",
        DATABASE_URL="postgresql+psycopg://u:SENTINEL@h/d",
        SCHEMA_REGISTRY_URL="http://u:SENTINEL@registry",
        EGRESS_PROXY="http://u:SENTINEL@proxy",
        KAFKA_OPTIONS='{"sasl.password": "SENTINEL"}',
        KAFKA_BOOTSTRAP_SERVERS="k:9092",
    )
    shown = f"{settings!r} {settings} {settings.kafka()!r}"
    assert "SENTINEL" not in shown
    assert KEY not in shown
    assert settings.database() == "postgresql+psycopg://u:SENTINEL@h/d"
    assert settings.proxy() == "http://u:SENTINEL@proxy"


def test_the_key_can_be_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "key"
    for begin in ("", "\ufeff"):  # some editors begin a file with a mark
        file.write_text(f"{begin}{KEY}\n")
        assert read(monkeypatch, SECRET_KEY_FILE=str(file)).key() == bytes(range(32))


@pytest.mark.parametrize("content", [None, b"SENTINEL", b"\xff\xfe"])
def test_a_key_file_without_a_key_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None
) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError, match=f"^{PREFIX}SECRET_KEY_FILE: ") as caught:
        read(monkeypatch, SECRET_KEY_FILE=str(file)).key()
    assert "SENTINEL" not in str(caught.value)


def test_the_deployment_s_own_schemas_replace_the_shipped_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "lead.new" in Settings.read().catalogue()
    folder = Path(__file__).parents[3] / "schemas" / "avro"
    assert read(monkeypatch, SCHEMA_DIR=str(folder)).catalogue() == Settings.read().catalogue()


def test_policy_numbers_reach_the_engine_and_the_topics(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = read(monkeypatch, MAX_IN_FLIGHT="7", WINDOW_RECORDS="5000", EXPIRE_AFTER_DAYS="1", PARTITIONS="3")
    policy = settings.engine_policy()
    assert (policy.process_in_flight, policy.window_records, policy.expire_after_s) == (7, 5000, 86400)
    assert settings.topic_limits().partitions == 3


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("HOOKSTREAM_REQUIRE_HTTP", "; did you mean HOOKSTREAM_REQUIRE_HTTPS?"),
        ("HOOKSTREAM_ALLOWED_TARGET_NETWORK", "; did you mean HOOKSTREAM_ALLOWED_TARGET_NETWORKS?"),
        ("hookstream_api_tokn", "; did you mean HOOKSTREAM_API_TOKEN?"),
        ("HOOKSTREAM_METRIC_PORT", "; did you mean HOOKSTREAM_METRICS_PORT?"),
        ("HOOKSTREAM_NONSENSE", ""),
    ],
)
def test_a_variable_that_is_no_setting_is_refused_and_its_value_not_shown(
    monkeypatch: pytest.MonkeyPatch, name: str, says: str
) -> None:
    monkeypatch.setenv(name, "SENTINEL")
    with pytest.raises(SettingsError) as caught:
        Settings.read()
    assert str(caught.value) == f"{name}: there is no such setting{says}"


def test_variables_of_others_are_left_alone() -> None:
    found = {
        "PATH": "/bin",
        "HOOKSTREAM_TEST_DATABASE_URL": "postgresql://x",
        # What Kubernetes adds for the services `hookstream` and `hookstream-metrics`.
        "HOOKSTREAM_SERVICE_HOST": "10.0.0.1",
        "HOOKSTREAM_SERVICE_PORT_HTTP": "80",
        "HOOKSTREAM_PORT": "tcp://10.0.0.1:80",
        "HOOKSTREAM_METRICS_SERVICE_PORT": "9400",
        "HOOKSTREAM_METRICS_PORT_9400_TCP_ADDR": "10.0.0.1",
    }
    assert unknown_variables(found) == []


def test_unknown_and_wrong_variables_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match=f"{PREFIX}PARTITION: .*; {PREFIX}API_PORT: "):
        read(monkeypatch, PARTITION="3", API_PORT="y")


def test_roles_meet_on_no_port_unless_a_deployment_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    ports = {role: Settings.read().metrics_port_of(role) for role in METRICS_PORTS}
    assert len({*ports.values(), Settings.read().api_port}) == len(ports) + 1
    assert {read(monkeypatch, METRICS_PORT="0").metrics_port_of(role) for role in ports} == {0}


def documented() -> dict[str, str]:
    return dict(re.findall(r"^\| `(\w+)` \| (.+?) \|", DOCUMENT.read_text(), re.MULTILINE))


def test_every_setting_is_documented_and_nothing_else() -> None:
    assert sorted(documented()) == sorted(variable(name) for name in Settings.model_fields)


def test_the_documented_port_of_a_role_is_its_port() -> None:
    text = DOCUMENT.read_text()
    for role, port in METRICS_PORTS.items():
        assert f"{role} {port}" in text, role


def test_the_documented_defaults_are_the_defaults() -> None:
    table = documented()
    for name, field in Settings.model_fields.items():
        shown = table[variable(name)].strip("`")
        default = field.default
        if default in (None, "", (), frozenset()):
            assert shown in {"none", "empty", "the shipped domain", "by role"}, name
        elif isinstance(default, bool):
            assert shown == str(default).lower(), name
        else:
            assert shown == str(default), name


def test_previous_keys_decrypt_behind_the_one_that_encrypts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    old, older = bytes(32), b"x" * 32
    texts = ", ".join(base64.b64encode(key).decode() for key in (old, older))
    assert read(monkeypatch, SECRET_KEY=KEY).keys() == (bytes(range(32)),)
    assert read(monkeypatch, SECRET_KEY_PREVIOUS=texts).keys() == (bytes(range(32)), old, older)
    with pytest.raises(SettingsError, match="both set"):
        read(monkeypatch, SECRET_KEY_PREVIOUS_FILE=str(tmp_path / "keys"))
    monkeypatch.delenv(f"{PREFIX}SECRET_KEY_PREVIOUS")
    with pytest.raises(SettingsError, match="SECRET_KEY_PREVIOUS_FILE: cannot read the file"):
        Settings.read().keys()
    (tmp_path / "keys").write_text(f"{texts}\n")
    assert Settings.read().keys() == (bytes(range(32)), old, older)
