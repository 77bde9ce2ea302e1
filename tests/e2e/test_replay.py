"""`curtaild replay` on the journal of a real run: an order, a dead meter, a kill in mid-move, a new start."""

from __future__ import annotations

import io
import json
import signal
import sqlite3
from pathlib import Path

import pytest

from controller.commands.replay import run_replay
from controller.domain.journalling import RowKind
from simulators.modbus_server import WireFault, WireKind
from tests.e2e.conftest import MakeSite
from tests.e2e.processes import Ran, curtaild
from tests.e2e.small_site import SmallSite
from tests.e2e.waiting import until
from tests.runtime.conftest import Broker

SMALL = {"s21": 3, "s19kpro": 3, "s19jpro": 2}


@pytest.fixture(scope="module")
def recorded(make_module_site: MakeSite, nats: Broker) -> SmallSite:
    """Two runs in one journal, the first of them killed while the load was falling."""
    site = make_module_site("recorded", surplus_kw=22, models=SMALL, hashing=8)
    site.configure(nats.port, failsafe={"hold_after": "0.8 s", "freeze_after": "1.5 s"})
    sim = site.sim
    site.daemon.start()
    until(lambda: 15 < sim.load_kw < 22.1, 40, "load down to the surplus")
    where = ("--site", site.id, "--broker", f"127.0.0.1:{nats.port}", "--issuer", "desk", "--wait", "accepted")
    assert curtaild("dispatch", *where, "cap", "12kW", "--for", "1m").code == 0
    site.daemon.end(signal.SIGKILL)
    site.daemon.start()
    until(lambda: sim.load_kw < 12.5, 40, "the order kept across the crash")
    poi = sim.host.poi_server
    sim.call(poi.set_fault(WireFault(WireKind.REFUSED)))
    until(lambda: site.status()["fail_safe"] == "frozen_up", 30, "the POI meter missed")
    sim.call(poi.set_fault(None))
    until(lambda: site.status()["fail_safe"] == "good", 30, "the meter believed again")
    site.ask("cap", power_w=11_000, for_s=60)
    until(lambda: site.status()["setpoint"]["bound"] == "operator", 20, "a person's cap")
    assert site.daemon.end() == 0
    return site


def replay(journal: Path, *arguments: str) -> Ran:
    return curtaild("replay", str(journal), *arguments)


def test_every_byte_of_every_decision_comes_out_again_across_a_crash(recorded: SmallSite) -> None:
    ran = replay(recorded.journal, "--json")
    assert ran.code == 0, ran.out + ran.errors
    found = ran.json()
    assert found["runs"] == 2
    assert found["left_out"] == found["missing"] == found["recorded"]["differing"] == 0
    assert found["recorded"]["cycles"] == len(recorded.rows(RowKind.DECISION)) > 40
    kinds = {row.kind for row in recorded.rows()}
    assert {RowKind.ANSWER, RowKind.VERDICT, RowKind.COMMAND, RowKind.OPERATOR, RowKind.RECEIVED} <= kinds


def test_other_settings_are_asked_in_the_same_situations_and_differ(recorded: SmallSite, tmp_path: Path) -> None:
    text = recorded.config.read_text()
    inventory = 'inventory = "fleet.csv"\n'
    (tmp_path / "fleet.csv").write_text((recorded.folder / "fleet.csv").read_text())
    same, other = tmp_path / "same.toml", tmp_path / "other.toml"
    same.write_text(text)
    other.write_text(text.replace("[control]\n", '[control]\nsurplus_margin = "3 kW"\n'))
    assert inventory not in text, "the inventory lies beside the site file"
    assert replay(recorded.journal, "--config", str(same), "--json").json()["config"] is None
    ran = replay(recorded.journal, "--config", str(other), "--json")
    assert ran.code == 0, "differences were asked for"
    found = ran.json()
    assert found["recorded"]["differing"] == 0
    assert 0 < found["config"]["differing"] <= found["config"]["cycles"]
    assert any("cap_w" in line for line in found["config"]["first"]["lines"])


def test_a_decision_that_comes_out_otherwise_is_named_with_its_cycle_and_value(
    recorded: SmallSite, tmp_path: Path
) -> None:
    copy = tmp_path / "journal.sqlite"
    with sqlite3.connect(recorded.journal) as journal:
        journal.execute("VACUUM INTO ?", (str(copy),))
    with sqlite3.connect(copy) as journal:
        place, body = journal.execute("SELECT id, body FROM rows WHERE kind = 'decision' LIMIT 1 OFFSET 30").fetchone()
        decision = json.loads(body)
        was = decision["setpoint"][0]
        decision["setpoint"][0] = was + 0.125
        changed = json.dumps(decision, sort_keys=True, separators=(",", ":"))
        journal.execute("UPDATE rows SET body = ? WHERE id = ?", (changed, place))
    ran = replay(copy)
    assert ran.code == 1
    assert f"1 of {len(recorded.rows(RowKind.DECISION))} cycles differ" in ran.out
    assert f"first: cycle {decision['cycle']}, " in ran.out
    assert f"- decision.setpoint = [{was + 0.125}," in ran.out
    assert f"+ decision.setpoint = [{was}," in ran.out


def test_what_cannot_be_replayed_is_refused_with_a_reason(recorded: SmallSite, tmp_path: Path) -> None:
    def refusal(journal: Path) -> str:
        out, errors = io.StringIO(), io.StringIO()
        assert run_replay(journal, None, {}, as_json=False, out=out, errors=errors) == 2
        return errors.getvalue()

    assert "does not exist" in refusal(tmp_path / "no.sqlite")
    old = tmp_path / "old.sqlite"
    with sqlite3.connect(recorded.journal) as journal:
        journal.execute("VACUUM INTO ?", (str(old),))
    with sqlite3.connect(old) as journal:  # as the version before wrote it
        journal.execute("DELETE FROM rows WHERE kind = 'state'")
    assert "holds no state to begin from" in refusal(old)
    with sqlite3.connect(old) as journal:
        journal.execute("UPDATE rows SET body = json_remove(body, '$.setup') WHERE kind = 'start'")
    assert "before replays were possible" in refusal(old)
    (tmp_path / "not.sqlite").write_text("not a journal, though it is long enough to be taken for one" * 40)
    assert "not a database" in refusal(tmp_path / "not.sqlite")
