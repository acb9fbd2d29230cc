"""What `deploy/` watches is what the code counts, and what `docs/metrics.md` says of both is so."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from hookstream.processors.metrics import HELP, LAST_ANSWERS, Metrics
from tests.support.repository import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

DEPLOY = ROOT / "deploy"
DASHBOARD = DEPLOY / "grafana" / "dashboards" / "hookstream.json"
HISTOGRAMS = ("hookstream_delivery_seconds", "hookstream_attempt_seconds")
PROMETHEUS_OWN = {"up", "process_start_time_seconds", "process_cpu_seconds_total", "process_resident_memory_bytes"}
# Of every series, from the scrape.
SCRAPED = {"job", "instance", "le"}
FUNCTIONS = {
    "absent", "and", "by", "changes", "histogram_quantile", "increase", "label_replace", "max", "min", "on", "or",
    "rate", "scalar", "sum", "topk", "unless", "without",
}  # fmt: skip
SELECTOR = re.compile(r"([a-zA-Z_:][\w:]*)\s*\{([^}]*)\}")
MATCHER = re.compile(r'\s*(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"\s*')
GROUPING = re.compile(r"\b(?:by|without|on)\s*\(([^)]*)\)")


def rules() -> list[dict[str, Any]]:
    """Every alert."""
    parsed = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())
    return [rule for group in parsed["groups"] for rule in group["rules"]]


def jobs() -> set[str]:
    """Names of what is scraped."""
    parsed = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    return {scrape["job_name"] for scrape in parsed["scrape_configs"]}


def panels() -> list[dict[str, Any]]:
    """Every panel of the dashboard."""
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return found


def expressions() -> list[str]:
    """Everything that is asked of Prometheus."""
    of_panels = [target["expr"] for panel in panels() for target in panel["targets"]]
    return [*(rule["expr"] for rule in rules()), *of_panels]


def label_values() -> dict[str, dict[str, set[str]]]:
    """What `/metrics` answers: the values of each label, by sample."""
    metrics = Metrics()
    metrics.worker.window_used_ratio[0] = 0.0
    metrics.last_answers_s = lambda: dict.fromkeys(LAST_ANSWERS, 0.0)
    found: dict[str, dict[str, set[str]]] = {}
    for family in text_string_to_metric_families(metrics.render().decode()):
        for sample in family.samples:
            labels = found.setdefault(sample.name, {})
            for label, value in sample.labels.items():
                labels.setdefault(label, set()).add(value)
    return found


def names_in(expression: str) -> Iterator[str]:
    """Names of metrics in an expression: what is neither in braces, grouped by, quoted, a duration nor a function."""
    stripped = GROUPING.sub("", re.sub(r"\{[^}]*\}|\[[^\]]*\]|\"[^\"]*\"", "", expression))
    yield from (name for name in re.findall(r"(?<![\w.])[a-zA-Z_:][\w:]*", stripped) if name not in FUNCTIONS)


def complaints(expression: str) -> list[str]:
    """What is wrong with an expression."""
    known, wrong = label_values(), []
    names = set(names_in(expression))
    wrong += [f"no metric {name}" for name in names if name not in known and name not in PROMETHEUS_OWN]
    grouped = {label.strip() for found in GROUPING.findall(expression) for label in found.split(",")}
    labels = set(SCRAPED).union(*(known.get(name, {}) for name in names))
    wrong += [f"no label {label}" for label in grouped - labels]
    for name, matchers in SELECTOR.findall(expression):
        for label, operator, value in MATCHER.findall(matchers):
            values = jobs() if label == "job" else known.get(name, {}).get(label, set())
            if operator in ("=", "!="):
                wrong += [] if value in values else [f"{name} has no {label} {value}"]
            elif not any(re.fullmatch(value, candidate) for candidate in values):
                wrong.append(f"no {label} of {name} matches {value}")
    return wrong


@pytest.mark.parametrize(
    ("planted", "says"),
    [
        ("rate(hookstream_delivered_total[5m])", "no metric hookstream_delivered_total"),
        ('hookstream_dead_letters_total{reason="too large"}', "no reason too large"),
        ("sum by (endpoint) (hookstream_cursors)", "no label endpoint"),
        ('up{job="worker"} == 1', "has no job worker"),
        ('hookstream_inflight{job=~"worker.*"}', "no job of hookstream_inflight matches"),
    ],
)
def test_what_does_not_exist_is_seen(planted: str, says: str) -> None:
    assert says in "; ".join(complaints(planted))


@pytest.mark.parametrize("expression", expressions())
def test_everything_that_is_asked_for_is_counted(expression: str) -> None:
    assert complaints(expression) == []


def test_everything_that_is_counted_is_on_the_dashboard() -> None:
    shown = {name for panel in panels() for target in panel["targets"] for name in names_in(target["expr"])}
    suffixed = {f"{name}_bucket" for name in HISTOGRAMS}
    assert (set(HELP) - set(HISTOGRAMS)) | suffixed == {name for name in shown if name.startswith("hookstream_")}


def test_every_alert_says_what_it_guards_and_where_to_read_on() -> None:
    for rule in rules():
        assert rule["alert"].startswith("Hookstream")
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert set(rule["annotations"]) == {"objective", "summary", "runbook"}
        assert rule["annotations"]["runbook"] == f"docs/operations.md#{rule['alert'].lower()}"


def test_every_role_of_the_compose_file_is_scraped_on_its_port() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    roles = {name for name, service in services.items() if "readyz" in str(service.get("healthcheck"))}
    scraped = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    where = {scrape["job_name"]: scrape["dns_sd_configs"] for scrape in scraped}
    assert set(where) == roles
    for name, (found,) in where.items():
        assert found["names"] == [name]
        assert f":{found['port']}/readyz" in str(services[name]["healthcheck"])
        assert services[name]["environment"]["HOOKSTREAM_API_HOST"] == "0.0.0.0", "only its own container reaches it"


def test_it_is_seen_of_every_role_when_there_is_none() -> None:
    (missing,) = [rule for rule in rules() if rule["alert"] == "HookstreamRoleMissing"]
    for job in jobs():
        assert f'label_replace(absent(up{{job="{job}"}} == 1), "job", "{job}", "", "")' in missing["expr"]


def test_panels_ask_the_source_that_is_provisioned_and_do_not_overlap() -> None:
    provisioning = DEPLOY / "grafana" / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())["datasources"]
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        for asked in (panel, *panel["targets"]):
            assert asked["datasource"] == {"type": source["type"], "uid": source["uid"]}
        grid = panel["gridPos"]
        cells = {(grid["x"] + x, grid["y"] + y) for x in range(grid["w"]) for y in range(grid["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
    ids = [panel["id"] for panel in panels()]
    assert len(ids) == len(set(ids))


def test_the_files_are_where_the_containers_look_for_them() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    mounts = {
        inside: ROOT / outside
        for name in ("prometheus", "grafana")
        for outside, inside in (volume.split(":")[:2] for volume in services[name]["volumes"])
        if outside.startswith("./")
    }
    (provider,) = yaml.safe_load((DEPLOY / "grafana/provisioning/dashboards/hookstream.yml").read_text())["providers"]
    assert mounts[provider["options"]["path"]] == DASHBOARD.parent
    assert services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"] == (
        f"{provider['options']['path']}/{DASHBOARD.name}"
    )
    assert mounts["/etc/grafana/provisioning"] == DEPLOY / "grafana" / "provisioning"
    assert (mounts["/etc/prometheus"] / "prometheus.yml").exists()
    (rule_file,) = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())["rule_files"]
    assert (mounts["/etc/prometheus"] / rule_file).exists()


def documented(heading: str) -> list[list[str]]:
    """Cells of the table below a heading of `docs/metrics.md`."""
    section = (ROOT / "docs" / "metrics.md").read_text().split(f"# {heading}\n")[1].split("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in row] for row in rows]


def test_the_documentation_names_every_metric_with_its_labels() -> None:
    known = label_values()
    rows = documented("Metrics")
    assert {row[0].strip("`") for row in rows} == set(HELP)
    for name, labels, _role, _meaning in rows:
        sample = name.strip("`") + ("_bucket" if labels == "histogram" else "")
        label, _, values = labels.partition(":")
        assert set(known[sample]) - {"le"} == ({label.strip("`")} if label.startswith("`") else set()), name
        if values:
            assert set(re.findall(r"`([^`]+)`", values)) == known[sample][label.strip("`")]


def test_the_documentation_names_every_alert() -> None:
    told = {row[0].strip("`"): tuple(row[1:]) for row in documented("Alerts")}
    assert told == {
        rule["alert"]: (rule["labels"]["severity"], rule["annotations"]["objective"], rule.get("for", "at once"))
        for rule in rules()
    }
