"""The rules as their own tools see them, and that none is without a test, a severity or a page that says what to do."""

from __future__ import annotations

import re
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest
import yaml

from tests.deploy.watching import PROMETHEUS, alerts, dashboard_queries, ran, rules, tool

UNIT_TESTS = sorted((PROMETHEUS / "tests").glob("*.yml"))


def test_a_missing_tool_is_a_failure_where_it_has_to_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CURTAILD_REQUIRE_PROMTOOL", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no-such-tool is not installed"):
        tool("no-such-tool")
    monkeypatch.setenv("CURTAILD_REQUIRE_PROMTOOL", "1")
    with pytest.raises(pytest.fail.Exception, match="no-such-tool is required here"):
        tool("no-such-tool")


def test_configuration_and_rules_are_accepted() -> None:
    said = ran("promtool", "check", "config", "--lint-fatal", "prometheus.yml")
    assert f"{len(list((PROMETHEUS / 'rules').glob('*.yml')))} rule files found" in said
    assert ran("promtool", "check", "rules", *sorted(str(path) for path in (PROMETHEUS / "rules").glob("*.yml")))


def test_every_alert_fires_and_keeps_quiet_as_its_test_says() -> None:
    said = ran("promtool", "test", "rules", *UNIT_TESTS)
    assert said.count("SUCCESS") == len(UNIT_TESTS) > 0


def test_a_rule_that_never_fires_would_be_found(tmp_path: Path) -> None:
    """The unit tests above can fail: with a threshold out of reach they do."""
    for file in (PROMETHEUS / "rules").glob("*.yml"):
        (tmp_path / file.name).write_text(file.read_text().replace("== 0", "== 7"))
    tests = (PROMETHEUS / "tests" / "daemon.yml").read_text().replace("../rules/", f"{tmp_path}/")
    (tmp_path / "daemon_test.yml").write_text(tests)
    done = subprocess.run(
        [tool("promtool"), "test", "rules", tmp_path / "daemon_test.yml"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode != 0
    assert "CurtaildDown" in done.stdout + done.stderr


def test_every_alert_has_a_test_that_sees_it_fire_and_one_that_does_not() -> None:
    seen: dict[str, set[bool]] = defaultdict(set)
    for file in UNIT_TESTS:
        for case in yaml.safe_load(file.read_text())["tests"]:
            for check in case["alert_rule_test"]:
                seen[check["alertname"]].add(bool(check["exp_alerts"]))
    assert set(seen) == set(alerts())
    assert {name for name, results in seen.items() if results != {True, False}} == set()


def test_every_alert_says_how_bad_it_is_and_what_it_means() -> None:
    for name, rule in alerts().items():
        assert re.fullmatch(r"Curtaild([A-Z][a-z]+)+", name)
        assert rule["labels"]["severity"] in {"critical", "warning", "none"}, name
        said = rule["annotations"]
        assert set(said) == {"summary", "description", "runbook_url"}, name
        assert said["summary"].endswith("."), name
        assert len(said["summary"]) < 120, name
    severities = [rule["labels"]["severity"] for rule in alerts().values()]
    assert severities.count("none") == 1, "only the dead man's switch"
    assert severities.count("critical") <= 12, "each of these wakes somebody at night"


def test_recording_rules_follow_the_naming_of_prometheus_and_are_all_used() -> None:
    records = [rule["record"] for rule in rules() if "record" in rule]
    asked = " ".join([rule["expr"] for rule in rules()] + [query.expr for query in dashboard_queries()])
    for record in records:
        assert re.fullmatch(r"site:curtaild_[a-z_]+(:[a-z0-9_]+)?", record)
        assert record in asked, f"{record} is recorded and nobody asks for it"


def test_alertmanager_takes_its_file_and_wakes_somebody_for_critical_ones_only() -> None:
    assert "SUCCESS" in ran("amtool", "check-config", "alertmanager.yml")
    for name, rule in alerts().items():
        labels = (f"alertname={name}", f"severity={rule['labels']['severity']}", "site=north")
        receiver = ran("amtool", "config", "routes", "test", "--config.file=alertmanager.yml", *labels).strip()
        assert receiver == {"critical": "wake-somebody", "warning": "morning", "none": "still-alive"}[labels[1][9:]]


def test_what_silences_another_alert_names_alerts_that_exist() -> None:
    config = yaml.safe_load((PROMETHEUS / "alertmanager.yml").read_text())
    named = re.findall(r"\bCurtaild[A-Za-z]+", str(config))
    assert set(named) <= set(alerts())
    assert "Curtaild.+" in str(config)


@pytest.mark.parametrize("name", ["prometheus.yml", "alertmanager.yml"])
def test_a_file_with_a_typing_error_is_refused(name: str, tmp_path: Path) -> None:
    """The checks above can fail."""
    broken = tmp_path / name
    broken.write_text((PROMETHEUS / name).read_text() + "\nno_such_key: 1\n")
    command = ("promtool", "check", "config") if name == "prometheus.yml" else ("amtool", "check-config")
    assert subprocess.run([tool(command[0]), *command[1:], broken], capture_output=True, timeout=60).returncode != 0
