"""The environment, read once and checked whole: the only reader of it. Names and defaults are in `docs/settings.md`.

Everything else is handed frozen values that the methods here build; a value that is missing is complained about when
it is needed, with the name of its variable. No message ever holds a value.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Literal, TypeAlias, TypeVar

import orjson
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from hookstream.processors.delivery.engine.policy import DAY_S, LONGEST_WINDOW, EnginePolicy
from hookstream.processors.delivery.http.target_rules import TargetRules
from hookstream.schemas.body import MAX_BODY_BYTES
from hookstream.schemas.catalogue import Catalogue
from hookstream.schemas.event import ClientId
from hookstream.schemas.ids import WHAT_A_TEXT_IS, IdKind, is_id
from hookstream.schemas.topics import TopicNames

from .errors import SettingsError
from .kafka import GroupProtocol, KafkaConfig
from .topic_specs import TopicLimits

PREFIX = "HOOKSTREAM_"
KEY_BYTES = 32
MAX_PORT = 65_535
_PORT = re.compile(r"[0-9]{1,5}")
# As `frame-ancestors` of a content security policy takes them; nothing else may get into that header.
_ORIGIN = re.compile(r"https?://(\*\.)?[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*(:[0-9]{1,5})?", re.ASCII)

Need: TypeAlias = Literal["kafka_bootstrap_servers", "schema_registry_url", "database_url", "secret_key"]
"""A setting that has no default."""

Network: TypeAlias = IPv4Network | IPv6Network
_T = TypeVar("_T")


def _options(value: object) -> object:
    """Check options of librdkafka: a JSON object of strings, numbers and booleans."""
    if not isinstance(value, str):
        return value
    try:
        options = orjson.loads(value)
    except orjson.JSONDecodeError:
        raise ValueError("needs a JSON object of librdkafka options") from None
    if not isinstance(options, dict) or not all(isinstance(v, str | int | float | bool) for v in options.values()):
        raise ValueError("needs a JSON object of librdkafka options, each a string, a number or a boolean")
    return {key: str(v).lower() if isinstance(v, bool) else str(v) for key, v in options.items()}


def _networks(value: object) -> object:
    """CIDRs, separated by commas."""
    if not isinstance(value, str):
        return value
    try:
        return tuple(ip_network(part.strip()) for part in value.split(",") if part.strip())
    except ValueError:
        raise ValueError(
            "needs networks such as 10.1.0.0/16,fd00::/8, without host bits, separated by commas"
        ) from None


def _ports(value: object) -> object:
    """Ports, separated by commas."""
    if not isinstance(value, str):
        return value
    parts = [part.strip() for part in value.split(",") if part.strip()]
    if not all(_PORT.fullmatch(part) and 1 <= int(part) <= MAX_PORT for part in parts):
        raise ValueError(f"needs ports from 1 to {MAX_PORT}, such as 443,8443, separated by commas")
    return frozenset(map(int, parts))


def _client(value: ClientId | None) -> ClientId | None:
    """The id of a client, as text."""
    if value is not None and not is_id(value):
        raise ValueError(f"needs the id of a client, which is {WHAT_A_TEXT_IS}")
    return value


def _origins(value: object) -> object:
    """Origins, separated by commas."""
    if not isinstance(value, str):
        return value
    origins = tuple(part.strip() for part in value.split(",") if part.strip())
    if not all(_ORIGIN.fullmatch(origin) for origin in origins):
        raise ValueError("needs origins such as https://app.example.com,https://*.example.com, separated by commas")
    return origins


def _key(value: SecretStr | None) -> SecretStr | None:
    """A key: base64 of 32 bytes, in either alphabet."""
    if value is not None:
        _key_bytes(value)
    return value


def _keys(value: SecretStr | None) -> SecretStr | None:
    """Keys, separated by commas."""
    if value is not None:
        _keys_bytes(value)
    return value


def _keys_bytes(value: SecretStr) -> tuple[bytes, ...]:
    return tuple(_key_bytes(SecretStr(part)) for part in value.get_secret_value().split(",") if part.strip())


def _key_bytes(value: SecretStr) -> bytes:
    return parse_key(value.get_secret_value())


def parse_key(text: str) -> bytes:
    """A master key: base64 of 32 bytes, in either alphabet.

    Raises:
        ValueError: it is none; the message does not repeat it.
    """
    try:
        key = base64.b64decode(text.strip().replace("-", "+").replace("_", "/"), validate=True)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise ValueError(_KEY_WANTED)
    return key


# What Kubernetes sets for every container of a service that is called hookstream or hookstream-*: no settings.
_SERVICE_LINK = re.compile(r"(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)")
_SERVICE_URL = re.compile(r"(tcp|udp|sctp)://")
# Where the project's own tests find their parts.
_OF_TESTS = "TEST_"
# Of two names of 25 characters this lets some five differ.
_NEAR = 0.8

_KEY_WANTED = f"needs base64 of {KEY_BYTES} bytes, such as `openssl rand -base64 {KEY_BYTES}` prints"

# Where roles without the API serve their health and metrics, unless METRICS_PORT says otherwise: apart, so that one
# machine can run one of each as they come.
METRICS_PORTS = {"router": 9400, "deliver": 9401, "attempt-log": 9402, "replayer": 9403, "outbox-relay": 9404}

Port = Annotated[int, Field(ge=0, le=65535)]
Days = Annotated[float, Field(gt=0, le=365)]


class Settings(BaseSettings):
    """Every setting of a deployment. An empty variable counts as not set."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, extra="ignore", frozen=True, hide_input_in_errors=True
    )

    # Kafka
    kafka_bootstrap_servers: str | None = None
    kafka_options: Annotated[dict[str, str], NoDecode, BeforeValidator(_options)] = Field(default={}, repr=False)
    kafka_group_protocol: GroupProtocol = GroupProtocol.CONSUMER
    schema_registry_url: str | None = Field(default=None, repr=False)  # may hold a password
    topic_prefix: str = Field(default="", pattern=r"^[A-Za-z0-9._-]{0,100}$")
    schema_dir: Path | None = None
    client_ids: IdKind = IdKind.INTEGER
    operator_client: Annotated[ClientId | None, AfterValidator(_client)] = None

    # topics
    partitions: int = Field(default=12, ge=1, le=10_000)
    replication_factor: int = Field(default=-1, ge=-1, le=100)
    max_body_bytes: int = Field(default=MAX_BODY_BYTES, ge=1024, le=16_777_216)
    max_event_bytes: int = Field(default=1_048_576, ge=1024, le=100 * 1024 * 1024)
    event_retention_days: Days = 7.0
    dead_letter_retention_days: Days = 30.0
    attempt_retention_days: Days = 3.0

    # database and secrets
    database_url: SecretStr | None = None
    secret_key: Annotated[SecretStr | None, AfterValidator(_key)] = None
    secret_key_file: Path | None = None
    secret_key_previous: Annotated[SecretStr | None, AfterValidator(_keys)] = None
    secret_key_previous_file: Path | None = None
    attempt_log_days: Days = 30.0
    audit_days: float = Field(default=365.0, ge=0, le=36_500)

    # the API, and its clients
    api_host: str = "127.0.0.1"
    api_port: Port = 8080
    api_url: str = "http://127.0.0.1:8080"
    api_token: SecretStr | None = None
    api_max_connections: int = Field(default=1000, ge=16, le=100_000)
    api_token_rate: float = Field(default=20.0, ge=0, le=100_000)
    api_publish_rate: float = Field(default=1000.0, ge=0, le=100_000)
    api_max_body_bytes: int = Field(default=1_048_576, ge=16_384, le=16_777_216)
    portal: Literal["on", "off"] = "on"
    portal_embed: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_origins)] = ()
    metrics_port: Port | None = None  # each role has its own: `METRICS_PORTS`

    # targets
    allowed_target_networks: Annotated[tuple[Network, ...], NoDecode, BeforeValidator(_networks)] = ()
    denied_target_networks: Annotated[tuple[Network, ...], NoDecode, BeforeValidator(_networks)] = ()
    allowed_target_ports: Annotated[frozenset[int], NoDecode, BeforeValidator(_ports)] = frozenset()
    require_https: bool = False
    egress_proxy: SecretStr | None = None  # may hold a password

    # delivery policy
    connect_timeout_s: float = Field(default=5.0, gt=0, le=60)
    attempt_timeout_s: float = Field(default=15.0, gt=0, le=300)
    max_in_flight: int = Field(default=4096, ge=1)
    max_in_flight_per_client: int = Field(default=128, ge=1)
    max_in_flight_per_endpoint: int = Field(default=64, ge=1)
    window_records: int = Field(default=LONGEST_WINDOW, ge=1_000, le=LONGEST_WINDOW)
    expire_after_days: Days = 6.0
    disable_after_days: Days = 5.0

    # the process
    stop_timeout_s: float = Field(default=20.0, gt=0, le=600)
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "json", "console"] = "auto"
    tracing: bool = False

    @model_validator(mode="after")
    def _agree(self) -> Settings:
        """Refuse settings that contradict each other."""
        if self.secret_key is not None and self.secret_key_file is not None:
            raise ValueError("SECRET_KEY and SECRET_KEY_FILE are both set; set one")
        if self.secret_key_previous is not None and self.secret_key_previous_file is not None:
            raise ValueError("SECRET_KEY_PREVIOUS and SECRET_KEY_PREVIOUS_FILE are both set; set one")
        if self.connect_timeout_s > self.attempt_timeout_s:
            raise ValueError("CONNECT_TIMEOUT_S is longer than ATTEMPT_TIMEOUT_S, which it is part of")
        if self.expire_after_days >= self.event_retention_days:
            raise ValueError("EXPIRE_AFTER_DAYS must be less than EVENT_RETENTION_DAYS: later there is nothing to move")
        return self

    @classmethod
    def read(cls, *needs: Need) -> Settings:
        """Read the environment; `needs` are settings without a default that have to be there.

        Raises:
            SettingsError: one line that names each variable that is wrong or missing, and never its value.
        """
        complaints = [*unknown_variables(os.environ), *missing_variables(os.environ, needs)]
        try:
            settings = cls()
        except ValidationError as exc:
            raise SettingsError("; ".join([*complaints, *_complaints(exc)])) from None
        if complaints:
            raise SettingsError("; ".join(complaints))
        return settings

    def kafka(self) -> KafkaConfig:
        """Where Kafka is.

        Raises:
            SettingsError: KAFKA_BOOTSTRAP_SERVERS is not set. The embedded broker serves `demo` and `up` only.
        """
        servers = _required(self.kafka_bootstrap_servers, "KAFKA_BOOTSTRAP_SERVERS")
        return KafkaConfig(
            bootstrap_servers=servers, options=self.kafka_options, group_protocol=self.kafka_group_protocol
        )

    def registry_url(self) -> str:
        """URL of the schema registry.

        Raises:
            SettingsError: SCHEMA_REGISTRY_URL is not set.
        """
        return _required(self.schema_registry_url, "SCHEMA_REGISTRY_URL")

    def database(self) -> str:
        """SQLAlchemy URL of the database; it may hold a password.

        Raises:
            SettingsError: DATABASE_URL is not set.
        """
        return _required(self.database_url, "DATABASE_URL").get_secret_value()

    def key(self) -> bytes:
        """The 32 bytes that the hooks' secrets are encrypted with.

        Raises:
            SettingsError: neither SECRET_KEY nor SECRET_KEY_FILE is set, or the file holds no key.
        """
        if self.secret_key_file is None:
            return _key_bytes(_required(self.secret_key, "SECRET_KEY"))
        return _from_file(self.secret_key_file, "SECRET_KEY_FILE", _key_bytes)

    def keys(self) -> tuple[bytes, ...]:
        """The key that encrypts, then those that only decrypt: what was encrypted before a rotation, or will be after.

        Raises:
            SettingsError: there is none, or a file holds none.
        """
        if self.secret_key_previous_file is not None:
            more = _from_file(self.secret_key_previous_file, "SECRET_KEY_PREVIOUS_FILE", _keys_bytes)
        else:
            more = () if self.secret_key_previous is None else _keys_bytes(self.secret_key_previous)
        return (self.key(), *more)

    def token(self) -> str:
        """The bearer token that the CLI uses.

        Raises:
            SettingsError: API_TOKEN is not set.
        """
        if self.api_token is None:
            message = (
                f"{PREFIX}API_TOKEN is not set: `hookstream token create` prints a token;"
                " `hookstream up` writes one of each role to .hookstream/tokens"
            )
            raise SettingsError(message)
        return self.api_token.get_secret_value()

    def proxy(self) -> str | None:
        """URL of the egress proxy, if there is one; it may hold a password."""
        return None if self.egress_proxy is None else self.egress_proxy.get_secret_value()

    def target_rules(self) -> TargetRules:
        """What deliveries may be sent to."""
        return TargetRules(
            allowed_networks=self.allowed_target_networks,
            denied_networks=self.denied_target_networks,
            allowed_ports=self.allowed_target_ports,
            require_https=self.require_https,
        )

    def topics(self) -> TopicNames:
        """Names of topics and groups."""
        return TopicNames(self.topic_prefix)

    def catalogue(self) -> Catalogue:
        """The catalogue of events: the deployment's own, or the shipped one.

        Raises:
            InvalidSchemaError: the deployment's folder is not one.
        """
        if self.schema_dir is None:
            return Catalogue.shipped()
        return Catalogue.from_directory(self.schema_dir, self.topics())

    def metrics_port_of(self, role: str) -> int:
        """Port of a role's health and metrics."""
        return METRICS_PORTS[role] if self.metrics_port is None else self.metrics_port

    def topic_limits(self) -> TopicLimits:
        """How `topics create` makes topics."""
        return TopicLimits(
            partitions=self.partitions,
            replication_factor=self.replication_factor,
            max_event_bytes=self.max_event_bytes,
            event_retention_days=self.event_retention_days,
            dead_letter_retention_days=self.dead_letter_retention_days,
            attempt_retention_days=self.attempt_retention_days,
        )

    def engine_policy(self) -> EnginePolicy:
        """What the delivery engine decides by."""
        return EnginePolicy(
            window_records=self.window_records,
            concurrency_max=self.max_in_flight_per_endpoint,
            client_in_flight=self.max_in_flight_per_client,
            process_in_flight=self.max_in_flight,
            expire_after_s=self.expire_after_days * DAY_S,
            disable_after_s=self.disable_after_days * DAY_S,
        )


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """A complaint about each environment variable that is called like a setting, and is none.

    A setting that is misspelt must not be taken for its default: REQUIRE_HTTP would allow what REQUIRE_HTTPS forbids.
    """
    known = {variable(field) for field in Settings.model_fields}
    found = []
    for name, value in sorted(environment.items()):
        called = name.upper()  # as pydantic reads them
        rest = called.removeprefix(PREFIX)
        foreign = rest.startswith(_OF_TESTS) or _SERVICE_LINK.fullmatch(rest) or _SERVICE_URL.match(value)
        if rest == called or called in known or foreign:
            continue
        near = get_close_matches(called, known, n=1, cutoff=_NEAR)
        found.append(f"{name}: there is no such setting{f'; did you mean {near[0]}?' if near else ''}")
    return found


def missing_variables(environment: Mapping[str, str], needs: Iterable[Need]) -> list[str]:
    """A complaint about each setting that is needed and not there, by itself or as a file: all are told at once."""
    there = {name.upper() for name, value in environment.items() if value}
    return [f"{variable(need)} is not set" for need in needs if not {variable(need), variable(f"{need}_file")} & there]


def variable(field: str) -> str:
    """The environment variable of a field."""
    return f"{PREFIX}{field.upper()}"


def _required(value: _T | None, name: str) -> _T:
    if value is None:
        message = f"{PREFIX}{name} is not set"
        raise SettingsError(message)
    return value


def _from_file(path: Path, name: str, read: Callable[[SecretStr], _T]) -> _T:
    try:
        return read(SecretStr(path.read_text(encoding="utf-8-sig")))  # some editors begin a file with a mark
    except OSError as exc:
        message = f"{PREFIX}{name}: cannot read the file: {exc.strerror}"
        raise SettingsError(message) from exc
    except ValueError as exc:  # UnicodeDecodeError too
        message = f"{PREFIX}{name}: {_KEY_WANTED}"
        raise SettingsError(message) from exc


def _complaints(error: ValidationError) -> list[str]:
    found = []
    for problem in error.errors(include_url=False, include_input=False, include_context=False):
        text = problem["msg"].removeprefix("Value error, ")
        name = variable(str(problem["loc"][0])) if problem["loc"] else PREFIX.removesuffix("_")
        found.append(f"{name}: {text}")
    return found
