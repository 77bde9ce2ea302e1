"""Shadow mode: the daemon as if in charge, beside whoever has the fleet today, and not one command on the wire."""

from __future__ import annotations

from controller.commands.replay import replay
from controller.domain.journalling import RowKind
from tests.e2e.conftest import MakeSite
from tests.e2e.processes import curtaild
from tests.e2e.waiting import always, until
from tests.runtime.conftest import Broker

SMALL = {"s21": 3, "s19kpro": 3, "s19jpro": 2}


def test_in_shadow_mode_it_decides_as_if_in_charge_measures_and_commands_nothing(
    make_site: MakeSite, nats: Broker
) -> None:
    site = make_site("shadowed", surplus_kw=15, models=SMALL, hashing=8)
    site.configure(nats.port, control={"mode": "shadow"})
    site.daemon.start()
    until(lambda: (site.status()["shadow"]["load_kw"] or 99.0) < 15.2, 40, "the site lowered, had it been told")
    view = site.status()
    shadow = view["shadow"]
    assert view["mode"] == "shadow"
    assert view["figures"]["measured_kw"] > 20, "measured stays what the site meter shows"
    assert view["miners"]["asleep"] > 0
    assert shadow["commands"]["sleep"] > 0
    site.sim.surplus.power_w = 22e3
    until(lambda: site.status()["shadow"]["commands"].get("wake", 0) > 0, 30, "miners woken, had they been told")
    ordered = curtaild(
        "dispatch", "--site", site.id, "--broker", f"127.0.0.1:{nats.port}", "--issuer", "desk", "cap", "9kW"
    )
    assert ordered.code == 3
    assert "shadow mode" in ordered.out
    until(lambda: site.status()["setpoint"]["bound"] in ("dispatch_cap", "ramp_down"), 20, "the order counts within")
    always(lambda: site.sim.load_kw > 20, 1, "the load moved")
    page = site.cli("status").out
    assert "in our hands" in page
    assert "as it is" in page
    assert site.daemon.end() == 0
    assert site.sim.writes() == 0
    assert site.rows(RowKind.COMMAND), "what it would have commanded is on record"
    found, _ = replay(iter(site.rows()))
    assert found.differing == 0
    assert found.cycles == len(site.rows(RowKind.DECISION)) > 40

    # The trial is over: nothing that was imagined is believed.
    site.configure(nats.port, control={"mode": "control"})
    site.sim.surplus.power_w = 53e3
    site.daemon.start()
    until(lambda: site.status()["fail_safe"] == "good", 30, "in control")
    assert site.status()["orders"] == []
    assert site.status()["shadow"] is None
    until(lambda: site.status()["miners"]["hashing"] == 8, 15, "all of them read, and none taken for asleep")
