"""A real Prometheus with the shipped configuration on a real daemon: every query finds what it names, and answers."""

from __future__ import annotations

import math
import re
import signal
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache

import pytest
from prometheus_client.parser import text_string_to_metric_families

from simulators.asic.response import Behaviour
from tests.deploy.monitoring import Alerted, Prometheus
from tests.deploy.watching import (
    BY_PATTERN,
    GROUPING,
    MATCHER,
    ROOT,
    SELECTOR,
    TARGET_LABELS,
    all_queries,
    dashboard_queries,
    rules,
    tool,
)
from tests.e2e.conftest import MakeSite, make_module_site, nats  # noqa: F401  # fixtures
from tests.e2e.processes import curtaild
from tests.e2e.small_site import SmallSite
from tests.e2e.waiting import until
from tests.runtime.conftest import Broker

DOCS_AS_INSTALLED = "file:///opt/curtaild/current/share/curtaild/docs"
LIAR = 15  # the last by merit: the first that has to sleep
# What this small site cannot show: it has no feeder meter, everybody answers, nothing it fears has happened, nobody
# starts and no class was commanded often enough to be learned.
NOTHING_HERE = re.compile(
    r"curtaild_feeder_|ALERTS|unreachable\|unknown|changes\(curtaild_process_start_time|curtaild_restore_|_class_learned"
)


@dataclass(frozen=True, slots=True)
class Exported:
    """Every series the daemon exports: name -> label -> values, and names that have no series now."""

    labels: Mapping[str, Mapping[str, set[str]]]
    types: Mapping[str, str]


@pytest.fixture(scope="module")
def site(make_module_site: MakeSite, nats: Broker) -> SmallSite:  # noqa: F811
    """A site near its surplus; the miner that has to sleep first says yes and hashes on."""
    tool("prometheus")  # without it there is nothing to set up
    made = make_module_site("watched", surplus_kw=53, behaviours={LIAR: Behaviour.LIAR_SLEEP})
    made.configure(nats.port)
    made.daemon.start()
    until(lambda: made.sim.load_kw > 45, 30, "load near the surplus")
    return made


@pytest.fixture(scope="module")
def metrics_port(site: SmallSite) -> int:
    return int(site.daemon.events("metrics_listening")[0]["port"])


@pytest.fixture(scope="module")
def alerted() -> Iterator[Alerted]:
    taker = Alerted()
    yield taker
    taker.close()


@pytest.fixture(scope="module")
def prometheus(
    site: SmallSite,
    metrics_port: int,
    alerted: Alerted,
    nats: Broker,  # noqa: F811
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Prometheus]:
    """Watching from before an order that is refused and one that is obeyed, as far as the liar lets it."""
    folder = tmp_path_factory.mktemp("monitoring")
    with Prometheus(folder, site.id, metrics_port, alerted.port) as running:
        where = ("--site", site.id, "--broker", f"127.0.0.1:{nats.port}")
        assert curtaild("dispatch", *where, "cap", "30kW", "--for", "48h").code != 0, "no order lives that long"
        assert curtaild("dispatch", *where, "cap", "30kW", "--for", "5m", "--wait", "accepted").code == 0
        # Rules and rates have something to say once the last of a chain of them was evaluated on two scrapes.
        until(lambda: running.query("site:curtaild_cycle_overruns:ratio_rate15m"), 20, "recorded series")
        until(lambda: running.query("site:curtaild_miners_quarantined:ratio > 0"), 20, "the liar in quarantine")
        until(lambda: running.query('rate(curtaild_verdicts_total{verdict!="settled"}[20s])'), 20, "its verdict twice")
        yield running


@pytest.fixture(scope="module")
def exported(prometheus: Prometheus, metrics_port: int) -> Exported:
    """Both pages, once the liar is found out and the order has been kept."""
    labels: dict[str, dict[str, set[str]]] = {}
    types: dict[str, str] = {}
    for path in ("/metrics", "/metrics/miners"):
        with urllib.request.urlopen(f"http://127.0.0.1:{metrics_port}{path}", timeout=5) as reply:
            text = reply.read().decode()
        for family in text_string_to_metric_families(text):
            name = f"{family.name}_total" if family.type == "counter" else family.name
            types[name] = family.type
            labels.setdefault(name, {})
            for sample in family.samples:
                known = labels.setdefault(sample.name, {})
                types[sample.name] = family.type
                for label, value in sample.labels.items():
                    known.setdefault(label, set()).add(value)
    return Exported(labels, types)


def test_every_query_names_only_what_the_daemon_exports(exported: Exported) -> None:
    wrong = {query.where: complaints(query.expr, exported) for query in all_queries()}
    assert {where: what for where, what in wrong.items() if what} == {}


@pytest.mark.parametrize(
    ("expr", "what"),
    [
        ("curtaild_nonsense_watts", "curtaild_nonsense_watts is not exported"),
        ('curtaild_miners{colour="red"}', "curtaild_miners has no label colour"),
        ('curtaild_miners{state=~"hashing|dancing"}', "curtaild_miners has no state=dancing"),
        ("sum by (site, feeder) (curtaild_miners)", "nothing has label feeder"),
        ('max({__name__=~"curtaild_(cap|hat)_watts"})', "curtaild_(cap|hat)_watts finds ['curtaild_cap_watts']"),
        ("rate(curtaild_cycles[1m])", "curtaild_cycles is not exported"),
    ],
)
def test_a_query_for_what_is_not_there_is_found(exported: Exported, expr: str, what: str) -> None:
    assert complaints(expr, exported) == [what]


def complaints(expr: str, exported: Exported) -> list[str]:
    """Every name, label and value in a query that no series has."""
    known = {**exported.labels, **{rule["record"]: {} for rule in rules() if "record" in rule}}
    promised = _promised_labels()
    wrong: list[str] = []
    allowed = set(TARGET_LABELS)
    for found in BY_PATTERN.finditer(expr):
        names = sorted(name for name in known if re.fullmatch(found["pattern"], name))
        if len(names) != found["pattern"].count("|") + 1:
            wrong.append(f"{found['pattern']} finds {names}")
    for found in SELECTOR.finditer(BY_PATTERN.sub("", expr)):
        name = found["name"]
        if name not in known:
            wrong.append(f"{name} is not exported")
            continue
        labels = set(known[name]) | promised.get(name, set())
        allowed |= labels
        for matcher in MATCHER.finditer(found["matchers"] or ""):
            label = matcher["label"]
            if label not in labels | TARGET_LABELS:
                wrong.append(f"{name} has no label {label}")
            # A gauge shows all its values at any time; a counter, and a page of single miners, only those that occur.
            elif exported.types.get(name) == "gauge" and label not in TARGET_LABELS and "miner" not in known[name]:
                words = matcher["value"].split("|")
                wrong += [
                    f"{name} has no {label}={word}" for word in words if word not in known[name].get(label, words)
                ]
    return wrong + [f"nothing has label {label}" for label in sorted(_grouped_by(expr) - allowed)]


def _grouped_by(expr: str) -> set[str]:
    lists = [found["labels"] for found in GROUPING.finditer(expr)]
    return {label.strip() for labels in lists for label in labels.split(",") if label.strip()}


@cache
def _promised_labels() -> dict[str, set[str]]:
    """Name -> labels by docs/status.md, for what this site has no series of; the page is tested against the code."""
    rows = re.findall(r"^\| `(curtaild_\w+)` \| \w+ \| (.*?) \|", (ROOT / "docs" / "status.md").read_text(), re.M)
    return {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows}


def test_what_an_operator_should_watch_stands_on_a_dashboard(exported: Exported) -> None:
    """Nothing is exported in vain: what no query asks for is known by name here."""
    asked = {found["name"] for query in all_queries() for found in SELECTOR.finditer(query.expr)}
    assert len(asked) > 60, "the patterns find the names in the queries"
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in asked}
    unasked = {name for name in exported.types if re.sub(r"_(bucket|sum|count)$", "", name) not in families}
    assert unasked == {"curtaild_process_virtual_memory_bytes"}, "of no use to anybody: what is resident counts"


def test_both_pages_are_scraped_under_the_sites_name(prometheus: Prometheus, site: SmallSite) -> None:
    targets = prometheus.ask("targets")["activeTargets"]
    assert {(target["labels"]["job"], target["labels"]["site"]) for target in targets} == {
        ("curtaild", site.id),
        ("curtaild-miners", site.id),
    }
    assert [(target["health"], target["lastError"]) for target in targets] == [("up", "")] * 2


def test_every_rule_is_evaluated_without_an_error(prometheus: Prometheus) -> None:
    evaluated = [rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"]]
    assert len(evaluated) == len(rules())
    assert {(rule["health"], rule.get("lastError", "")) for rule in evaluated} == {("ok", "")}


def test_every_query_of_the_dashboards_has_an_answer(prometheus: Prometheus) -> None:
    silent = [query for query in dashboard_queries() if not prometheus.query(query.expr)]
    assert [query for query in silent if not NOTHING_HERE.search(query.expr)] == []


def test_what_is_recorded_is_what_the_site_does(prometheus: Prometheus) -> None:
    def value(expr: str) -> float:
        (only,) = prometheus.query(expr)
        return float(only["value"][1])

    assert value("site:curtaild_miners:sum") == 16
    assert value("site:curtaild_miners_quarantined:ratio") >= 1 / 16
    assert value("site:curtaild_miners_unmoved:sum") >= 1
    assert value("site:curtaild_allowed_watts:max") == pytest.approx(30e3, abs=2e3)
    assert 0 < value("site:curtaild_cycle_seconds:p99_5m") < 1
    assert not math.isnan(value("site:curtaild_unused_surplus_watts"))


def test_a_site_at_work_alarms_nobody_and_proves_that_alarms_would_arrive(
    prometheus: Prometheus, alerted: Alerted
) -> None:
    firing = {
        alert["labels"]["alertname"] for alert in prometheus.ask("alerts")["alerts"] if alert["state"] == "firing"
    }
    assert firing == {"CurtaildWatched"}
    until(lambda: alerted.alerts, 10, "Alertmanager hears of it")
    sent = alerted.alerts[0]
    assert sent["labels"] == {"alertname": "CurtaildWatched", "job": "curtaild", "severity": "none"}
    assert sent["annotations"]["runbook_url"] == f"{DOCS_AS_INSTALLED}/operations.md#curtaildwatched"
    assert sent["annotations"]["description"].startswith("Daemons watched: 1.")


def test_a_daemon_that_is_gone_is_seen(prometheus: Prometheus, site: SmallSite) -> None:
    """The last test here: it kills the daemon of all of them."""
    site.daemon.end(signal.SIGKILL)
    until(
        lambda: prometheus.query('ALERTS{alertname="CurtaildDown", alertstate="pending"}'), 10, "CurtaildDown pending"
    )
