"""Prometheus scrapes a running daemon while an order binds: every quantity is there, with a value that can be true."""

from __future__ import annotations

import gzip
import math
import urllib.request
from collections import Counter
from collections.abc import Mapping

import pytest
from prometheus_client.parser import text_string_to_metric_families

from controller.domain.reasons import Bound
from tests.e2e.conftest import MakeSite
from tests.e2e.processes import curtaild
from tests.e2e.small_site import SmallSite
from tests.e2e.waiting import until
from tests.runtime.conftest import Broker

CAP_W = 30e3
MINERS = 16

Samples = Mapping[str, Mapping[frozenset[tuple[str, str]], float]]


@pytest.fixture(scope="module")
def site(make_module_site: MakeSite, nats: Broker) -> SmallSite:
    """A site under a dispatcher's cap that it has reached."""
    made = make_module_site("scraped", surplus_kw=53)
    made.configure(nats.port)
    made.daemon.start()
    until(lambda: made.sim.load_kw > 45, 30, "load near the surplus")
    where = ("--site", made.id, "--broker", f"127.0.0.1:{nats.port}")
    ordered = curtaild("dispatch", *where, "cap", f"{CAP_W:g}W", "--for", "5m")
    assert ordered.code == 0, ordered.out
    return made


@pytest.fixture(scope="module")
def seen(site: SmallSite) -> Samples:
    """One scrape, once the order's whole way is behind the site and what was commanded for it is judged."""

    def arrived() -> Samples:
        found = scrape(site)
        whole = not math.isnan(labelled(found, "order_progress_seconds", percent="100"))
        return found if whole and "curtaild_verdicts_total" in found else {}

    return until(arrived, 20, "100 % of the order, and a verdict")


def scrape(site: SmallSite, path: str = "/metrics") -> Samples:
    port = site.daemon.events("metrics_listening")[0]["port"]
    asked = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"Accept-Encoding": "gzip"})
    with urllib.request.urlopen(asked, timeout=5) as reply:  # noqa: S310 - the scheme stands one line above
        text = gzip.decompress(reply.read()).decode()
    found: dict[str, dict[frozenset[tuple[str, str]], float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[frozenset(sample.labels.items())] = sample.value
    return found


def labelled(seen: Samples, name: str, **labels: str) -> float:
    return seen[f"curtaild_{name}"][frozenset(labels.items())]


def test_powers_agree_with_the_plant_and_with_each_other(site: SmallSite, seen: Samples) -> None:
    power_w = {
        name: labelled(seen, f"{name}_watts")
        for name in ("surplus", "cap", "target", "expected", "measured", "residual", "floor", "unallocated")
    }
    assert power_w["surplus"] == pytest.approx(site.sim.cap_kw * 1e3, abs=2e3)
    assert power_w["cap"] == CAP_W
    assert CAP_W - 4e3 < power_w["target"] <= CAP_W
    assert power_w["measured"] == pytest.approx(site.sim.load_kw * 1e3, abs=3e3)
    assert power_w["residual"] == pytest.approx(power_w["measured"] - power_w["expected"], abs=1)
    assert abs(power_w["residual"]) < 3e3
    assert 1e3 < power_w["floor"] < 2e3
    assert abs(power_w["unallocated"]) < 4e3


def test_what_could_be_added_and_shed_is_known(site: SmallSite, seen: Samples) -> None:
    assert labelled(seen, "available_up_watts") > 5e3
    measured_w, floor_w = labelled(seen, "measured_watts"), labelled(seen, "floor_watts")
    assert labelled(seen, "available_down_watts") == pytest.approx(measured_w - floor_w, abs=4e3)


def test_the_order_is_what_binds_and_how_long_it_took_is_told(seen: Samples) -> None:
    bounds = {dict(labels)["bound"]: value for labels, value in seen["curtaild_binding_bound"].items()}
    assert bounds == {bound.value: float(bound is Bound.DISPATCH_CAP) for bound in Bound}
    half, most, whole = (labelled(seen, "order_progress_seconds", percent=share) for share in ("50", "90", "100"))
    assert 0 <= half <= most <= whole < 60
    assert labelled(seen, "active_orders") == 1
    assert labelled(seen, "shedding") == 0


def test_every_miner_is_in_one_state_and_every_input_has_an_age(seen: Samples) -> None:
    assert sum(seen["curtaild_miners"].values()) == MINERS
    assert labelled(seen, "miners", state="hashing") > 4
    ages_s = {dict(labels)["input"]: value for labels, value in seen["curtaild_input_age_seconds"].items()}
    assert set(ages_s) == {"poi", "site", "plant", "trip", "permit", "emergency", "frequency"}
    assert all(0 <= age_s < 3 for age_s in ages_s.values())
    assert set(seen["curtaild_input_state"].values()) == {0.0}
    assert labelled(seen, "fail_safe_state") == 0
    median_s, oldest_s = (labelled(seen, "telemetry_age_seconds", quantile=share) for share in ("0.5", "1"))
    assert 0 <= median_s <= oldest_s < 10


def test_commands_outcomes_and_verdicts_are_counted_by_class(seen: Samples) -> None:
    commanded = sum(seen["curtaild_commands_total"].values())
    reported = seen["curtaild_outcomes_total"]
    assert 0 < sum(reported.values()) <= commanded
    for labels in reported:
        assert dict(labels)["verb"] in {"sleep", "wake", "trim"}
        assert dict(labels)["class"]
    assert sum(value for labels, value in reported.items() if ("outcome", "applied") in labels) > 0
    verdicts = seen["curtaild_verdicts_total"]
    assert sum(value for labels, value in verdicts.items() if ("verdict", "settled") in labels) > 0
    classes = {dict(labels)["class"] for labels in (*reported, *verdicts)}
    assert all("luxos" in name.lower() for name in classes)


def test_cycles_answers_and_the_build_are_told(site: SmallSite, seen: Samples) -> None:
    cycles = labelled(seen, "cycles_total")
    assert cycles > 20
    assert labelled(seen, "cycle_seconds_count") == cycles
    assert 0 < labelled(seen, "cycle_seconds_sum") / cycles < 0.25
    assert 0 <= labelled(seen, "cycle_overruns_total") < cycles
    for status in ("RECEIVED", "ACCEPTED", "REACHED"):
        assert labelled(seen, "dispatch_answers_total", status=status, code="") == 1
    assert labelled(seen, "mqtt_orders_received_total") == 1
    assert 2 <= labelled(seen, "mqtt_answers_sent_total") <= 3, "the last may be on its way"
    assert (labelled(seen, "mqtt_connected"), labelled(seen, "mqtt_connects_total")) == (1, 1)
    assert labelled(seen, "journal_writable") == 1
    (build,) = seen["curtaild_build_info"]
    assert dict(build)["site"] == site.id
    assert dict(build)["curtaild"]


def test_every_miner_has_its_own_series_and_they_add_up_to_the_site_s(site: SmallSite) -> None:
    def agreed() -> tuple[Samples, Samples] | None:
        """Both pages, once they are of one cycle (or of two that differ in nothing), every miner read and planned."""
        daemon, miners = scrape(site), scrape(site, "/metrics/miners")
        states = Counter(dict(labels)["state"] for labels in miners["curtaild_miner_state"])
        counted = {dict(labels)["state"]: int(value) for labels, value in daemon["curtaild_miners"].items() if value}
        whole = all(len(found) == MINERS for found in miners.values())
        return (daemon, miners) if states == counted and whole else None

    daemon, miners = until(agreed, 20, "two pages that agree")
    assert set(miners) == {
        f"curtaild_miner_{name}"
        for name in (
            "info",
            "power_watts",
            "expected_watts",
            "planned_watts",
            "state",
            "verdict",
            "failed_attempts",
            "telemetry_age_seconds",
        )
    }
    names = {dict(labels)["miner"] for labels in miners["curtaild_miner_info"]}
    assert len(names) == MINERS
    assert {dict(labels)["firmware"] for labels in miners["curtaild_miner_info"]} == {"LuxOS"}
    told_w = sum(miners["curtaild_miner_power_watts"].values())
    assert told_w == pytest.approx(labelled(daemon, "measured_watts"), abs=4e3)
    assert sum(miners["curtaild_miner_expected_watts"].values()) == pytest.approx(told_w, abs=4e3)
    assert all(0 <= age_s < 10 for age_s in miners["curtaild_miner_telemetry_age_seconds"].values())


def test_the_daemon_s_own_health_is_told(seen: Samples) -> None:
    assert labelled(seen, "asyncio_tasks") > MINERS
    assert labelled(seen, "process_open_fds") > 5
    assert labelled(seen, "safe_mode") == 0
    assert (labelled(seen, "log_lines_dropped_total"), labelled(seen, "log_events_held_back_total")) == (0, 0)
