"""`docker-compose.yml` and `Dockerfile` say what the code understands and both versions of Compose read; no secrets."""

from __future__ import annotations

import re
from typing import Any

import pytest
import typer
import yaml

from hookstream.processors.cli.main import app
from hookstream.processors.delivery.engine.policy import EnginePolicy
from hookstream.processors.delivery.worker.worker_config import POOL
from hookstream.processors.open_files import connections_that_fit
from hookstream.processors.settings import METRICS_PORTS, Settings, variable
from tests.support.machine import IMAGES, Part
from tests.support.repository import PACKAGES, ROOT

ROLES = ("api", "router", "deliver", "attempt-log", "replayer")
ONE_SHOTS = {"migrate": ["migrate"], "topics": ["topics", "create"]}
THIRD_PARTIES = {"kafka": Part.KAFKA, "registry": Part.REGISTRY, "postgres": Part.POSTGRES}
MONITORING = ("prometheus", "grafana")
# What docker-compose 1.29 knows of the parts that we use; it refuses a key it does not know.
KEYS_OF_A_SERVICE = {
    "build", "command", "depends_on", "environment", "healthcheck", "image", "init", "ports", "profiles", "read_only",
    "restart", "stop_grace_period", "tmpfs", "ulimits", "volumes",
}  # fmt: skip
KEYS_OF_A_HEALTHCHECK = {"test", "interval", "timeout", "retries", "start_period"}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """Parse the file."""
    parsed: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return parsed


@pytest.fixture(scope="module")
def services(compose: dict[str, Any]) -> dict[str, Any]:
    """Return its services."""
    found: dict[str, Any] = compose["services"]
    return found


def test_only_keys_that_both_versions_know_are_used(compose: dict[str, Any], services: dict[str, Any]) -> None:
    assert {key for key in compose if not key.startswith("x-")} == {"services", "volumes"}
    for service in services.values():
        assert set(service) <= KEYS_OF_A_SERVICE
        assert set(service.get("healthcheck", {})) <= KEYS_OF_A_HEALTHCHECK
        for needed in service.get("depends_on", {}).values():
            assert set(needed) == {"condition"}


def test_every_setting_exists(services: dict[str, Any]) -> None:
    known = {variable(field) for field in Settings.model_fields}
    used = {
        name
        for service in services.values()
        for name in service.get("environment", {})
        if name.startswith("HOOKSTREAM_")
    }
    assert used - known == set()
    assert used


def test_every_setting_that_a_role_cannot_do_without_is_there(services: dict[str, Any]) -> None:
    needs = {
        "migrate": {"DATABASE_URL"},
        "topics": {"KAFKA_BOOTSTRAP_SERVERS", "SCHEMA_REGISTRY_URL"},
        "api": {"KAFKA_BOOTSTRAP_SERVERS", "SCHEMA_REGISTRY_URL", "DATABASE_URL", "SECRET_KEY"},
        "router": {"KAFKA_BOOTSTRAP_SERVERS", "SCHEMA_REGISTRY_URL"},
        "deliver": {"KAFKA_BOOTSTRAP_SERVERS", "SCHEMA_REGISTRY_URL", "SECRET_KEY"},
        "attempt-log": {"KAFKA_BOOTSTRAP_SERVERS", "SCHEMA_REGISTRY_URL", "DATABASE_URL"},
        "replayer": {"KAFKA_BOOTSTRAP_SERVERS", "SCHEMA_REGISTRY_URL", "DATABASE_URL"},
    }
    assert set(needs) == set(ROLES) | set(ONE_SHOTS)
    for name, settings in needs.items():
        given = {key.removeprefix("HOOKSTREAM_") for key in services[name]["environment"]}
        assert settings <= given, name


def test_services_are_the_third_parties_the_one_shots_and_the_roles(services: dict[str, Any]) -> None:
    assert set(services) == {*THIRD_PARTIES, *ONE_SHOTS, *ROLES, *MONITORING}
    asked_for = {name: service["profiles"] for name, service in services.items() if "profiles" in service}
    assert asked_for == {name: ["monitoring"] for name in MONITORING}
    for name in ROLES:
        assert services[name]["command"] == [name]
    for name, command in ONE_SHOTS.items():
        assert services[name]["command"] == command
        assert services[name]["restart"] == "no"


@pytest.mark.parametrize("command", [*([role] for role in ROLES), *ONE_SHOTS.values()])
def test_every_command_is_one_of_the_command_line(command: list[str]) -> None:
    found: Any = typer.main.get_command(app)
    for word in command:
        assert word in found.commands
        found = found.commands[word]


@pytest.mark.parametrize(("name", "part"), THIRD_PARTIES.items())
def test_third_parties_have_the_versions_that_the_tests_run_with(
    services: dict[str, Any], name: str, part: Part
) -> None:
    assert services[name]["image"] == f"${{{name.upper()}_IMAGE:-{IMAGES[part]}}}"


def test_what_stays_up_says_when_it_is_ready(services: dict[str, Any]) -> None:
    for name in set(services) - set(ONE_SHOTS):
        assert services[name]["healthcheck"]["test"][0] == "CMD", name


def test_a_role_is_asked_where_it_answers(services: dict[str, Any]) -> None:
    scraped = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())["scrape_configs"]
    ports = {"api": 8080} | {role: METRICS_PORTS[role] for role in ROLES if role != "api"}
    assert {job["job_name"]: job["dns_sd_configs"][0]["port"] for job in scraped} == ports
    for role, port in ports.items():
        assert f"http://127.0.0.1:{port}/readyz" in services[role]["healthcheck"]["test"][-1], role


def test_roles_start_after_the_tables_and_the_topics_are_there(services: dict[str, Any]) -> None:
    for name in ROLES:
        assert services[name]["depends_on"] == {
            "migrate": {"condition": "service_completed_successfully"},
            "topics": {"condition": "service_completed_successfully"},
        }
    for service in services.values():
        assert set(service.get("depends_on", {})) <= set(services)


def test_nothing_is_published_beyond_this_machine_and_workers_can_be_many(services: dict[str, Any]) -> None:
    for service in services.values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    assert "ports" not in services["deliver"]


def test_no_secret_is_written_down(services: dict[str, Any]) -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    for service in services.values():
        for name, value in service.get("environment", {}).items():
            if re.search("SECRET|PASSWORD|TOKEN", name):
                assert re.fullmatch(r"\$\{\w+:\?[^}]+\}", value), name
    assert not re.search(r"://\w+:(?!\$\{)[^@/\s]+@", text)


def test_the_image_holds_every_package_and_runs_without_rights() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    last_stage = lines[max(n for n, line in enumerate(lines) if line.startswith("FROM ")) :]
    assert "USER 10001:10001" in last_stage
    admitted = {line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"}
    build = {"requirements.lock", "requirements-build.lock", ".ci/import_all.py"}
    assert set(PACKAGES) | {"pyproject.toml", "setup.py", "README.md", "LICENSE"} | build == admitted


def test_a_container_may_open_what_a_worker_needs(services: dict[str, Any]) -> None:
    limits = services["deliver"]["ulimits"]["nofile"]
    in_flight, idle = EnginePolicy().process_in_flight, POOL.max_idle
    for limit in (limits["soft"], limits["hard"]):
        assert connections_that_fit(limit, in_flight=in_flight, idle=idle) == (in_flight, idle)


def test_nothing_comes_into_the_image_without_its_hash() -> None:
    text = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text())
    defined = re.search(r'install="([^"]+)"', text)
    assert defined
    text = text.replace(defined[0], "true").replace("$install", defined[1])
    commands = [part for line in text.splitlines() if line.startswith("RUN ") for part in line.split("&&")]
    fetching = [part for part in commands if re.search(r"\bpip (--python \S+ )?(install|wheel|download)\b", part)]
    assert len(fetching) == 4
    assert [part for part in fetching if "--require-hashes" not in part and "--no-index" not in part] == []
