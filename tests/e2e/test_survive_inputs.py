"""Meters that are killed, freeze, talk rubbish or answer as somebody else: judged by what the site really draws.

The sites of a test run side by side: each loses one input in one way, nobody may raise a watt meanwhile, the fallback
comes when the site file says so, and the way back waits for the re-arm time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import pytest

from simulators.modbus_meter import DeviceFault
from simulators.modbus_server import WireFault, WireKind
from tests.e2e.conftest import MakeSite
from tests.e2e.small_site import SmallSite
from tests.e2e.waiting import until

SMALL = {"s21": 3, "s19kpro": 3, "s19jpro": 2}
SEEN_KW = 21.0  # the eight miners could draw 24
UNSEEN_KW = 30.0
GUARDED_KW = 14.0
FALLBACK_KW = 5.0
FALLBACK_AFTER_S, REARM_S, NOTICED_S = 3.0, 2.0, 2.0
STARTED_WITHIN_S = 90.0  # seven daemons at once on a busy machine
DOWN_WITHIN_S = 8.0  # a ramp of 4 kW/s, then the slowest miner falls asleep
FAILSAFE = {
    "hold_after": "1.2 s",  # a meter is asked every 0.1 s; a busy machine is not to pass for a lost one
    "freeze_after": "1.8 s",
    "fallback_offset_max": "0 s",
    "rearm_after": f"{REARM_S:g} s",
    "frozen_after": f"{NOTICED_S:g} s",
    "dcs_heartbeat_after": f"{NOTICED_S:g} s",
}
pytestmark = pytest.mark.timeout(300)


@dataclass(slots=True)
class Input:
    """One input of a site: what it is called, how it breaks, what the log says of that, and what the site does."""

    name: str
    meter: str
    fault: WireFault | DeviceFault
    words: str
    """In the log line of the meter, or as the reason of the doubt."""
    noticed_s: tuple[float, float] = (0.0, 0.0)
    """How long the fault has to last before anybody can tell, at least and at most."""
    fallback_after_s: float = FALLBACK_AFTER_S
    site_id: str = ""
    rules: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.site_id = self.site_id or f"{self.meter}-{getattr(self.fault, 'kind', self.fault)}".replace("_", "-")


FALLING = Input("poi", "poi", DeviceFault.STUCK, "frozen", (NOTICED_S, NOTICED_S + 3.0))
"""It freezes as the load is lowered."""
RISING = replace(
    FALLING, site_id="poi-stuck-with-room", noticed_s=(6.0, 8.0), rules={"frozen_after": "6 s", "balance_after": "20 s"}
)
"""It freezes as the load is raised, and shows for ever the room that was there; the site has long to believe it."""
GUARDED = Input("site", "site", WireFault(WireKind.REFUSED), "refused", fallback_after_s=8.0)
"""Blind for long enough to see that the POI meter alone sheds what the grid would lack."""
LOST = (
    Input("poi", "poi", WireFault(WireKind.REFUSED), "refused"),
    Input("poi", "poi", WireFault(WireKind.SILENT), "timeout"),
    Input("poi", "poi", WireFault(WireKind.GARBAGE), "wrong_reply"),
    Input("poi", "poi", WireFault(WireKind.EXCEPTION, code=4), "device_exception"),
    Input("poi", "poi", WireFault(WireKind.WRONG_UNIT), "unit 2 answered instead"),
    Input("plant", "dcs", WireFault(WireKind.GARBAGE), "wrong_reply"),
    Input("plant", "dcs", DeviceFault.HEARTBEAT_FROZEN, "heartbeat stuck", (NOTICED_S, NOTICED_S)),
)


class Blinded:
    """A site that loses one of its inputs, and what is known of it since."""

    def __init__(self, site: SmallSite, lost: Input) -> None:
        self.site, self.lost = site, lost
        self.allowed_kw = 0.0
        self.broken_at = self.mended_at = 0.0
        self._before = 0

    @property
    def states(self) -> list[str]:
        """The states this input went through since it broke or was mended."""
        return [text.split(" -> ")[1].split(" ")[0] for text in self._texts()[self._before :]]

    def _texts(self) -> list[str]:
        texts = [event["text"] for event in self.site.daemon.events("input_state")]
        return [text for text in texts if text.startswith(f"{self.lost.name}:")]

    def believed(self) -> bool:
        states = [text.split(" -> ")[1].split(" ")[0] for text in self._texts()]
        return states[-1:] == ["good"]

    def follows(self) -> bool:
        """Near its surplus, nobody on the way up any more, with an input that is believed."""
        return SEEN_KW - 1 < self.site.sim.load_kw < SEEN_KW and self.believed()

    def doubts_within(self, within_s: float) -> None:
        until(lambda: "hold" in self.states, within_s, f"{self.lost.site_id}: doubt")

    def break_it(self) -> None:
        sim = self.site.sim
        self._before, self.broken_at = len(self._texts()), time.monotonic()
        self.allowed_kw = sim.cap_kw + 0.01 * sim.rated_w / 1e3
        self._inject(self.lost.fault)

    def mend(self) -> None:
        self._before, self.mended_at = len(self._texts()), time.monotonic()
        self._inject(None)

    def _inject(self, fault: WireFault | DeviceFault | None) -> None:
        host = self.site.sim.host
        if isinstance(self.lost.fault, DeviceFault):
            getattr(host, self.lost.meter).fault = fault
        else:
            self.site.sim.call(getattr(host, f"{self.lost.meter}_server").set_fault(fault))

    def fallen(self) -> bool:
        return self.site.sim.load_kw < FALLBACK_KW + 0.01 * self.site.sim.rated_w / 1e3

    def check_the_way_down(self) -> None:
        """Nothing raised, never above the last surplus anybody saw, down not before the time and not long after it."""
        assert self.states == ["hold", "frozen_up", "fallback"], self.lost.site_id
        logged = self.site.daemon.log.read_text()
        assert self.lost.words in logged, f"nothing in the log says that it is {self.lost.words}"
        truth = self.site.sim.truth(self.broken_at)
        highest_kw = max(row.site_load_w for row in truth) / 1e3
        assert highest_kw <= self.allowed_kw, f"{self.lost.site_id}: drew {highest_kw:.2f} of {self.allowed_kw:.2f} kW"
        assert self.site.sim.raises(self.broken_at + self.lost.noticed_s[1]) == 0, self.lost.site_id
        earliest_s, latest_s = (noticed_s + self.lost.fallback_after_s for noticed_s in self.lost.noticed_s)
        fell_s = next(row.at_s for row in truth if row.site_load_w < 10e3) - self.broken_at
        assert earliest_s - 0.5 < fell_s < latest_s + DOWN_WITHIN_S, (
            f"{self.lost.site_id}: below 10 kW after {fell_s:.1f} s"
        )

    def check_the_way_back(self) -> None:
        assert self.states == ["good"]
        assert self.site.sim.raises(self.mended_at, self.mended_at + REARM_S) == 0, "woken before the re-arm time"


def test_a_site_that_loses_an_input_in_whatever_way_never_rises_falls_when_it_has_to_and_comes_back(
    make_site: MakeSite,
) -> None:
    sites = _following(make_site, LOST)
    for one in sites:
        one.break_it()
    for one in sites:
        one.doubts_within(10)
        one.site.sim.surplus.power_w = UNSEEN_KW * 1e3
    _down_and_back(sites)


def test_a_poi_meter_that_freezes_as_the_load_moves_raises_nobody_and_alone_it_still_sheds_what_the_grid_lacks(
    make_site: MakeSite,
) -> None:
    falling, rising, guarded = sites = _following(make_site, (FALLING, RISING, GUARDED))
    rising.site.ask("cap", power_w=12_000, for_s=60)
    until(lambda: rising.site.sim.load_kw < 12.3, 10, "room below the surplus")
    _until_together(sites, Blinded.believed, 10, "inputs that are believed")
    for one in sites:
        one.break_it()
    falling.site.ask("cap", power_w=16_000, for_s=60)
    rising.site.ask("release")
    guarded.doubts_within(5)
    guarded.site.sim.surplus.power_w = GUARDED_KW * 1e3
    falling.doubts_within(10)
    falling.site.sim.surplus.power_w = UNSEEN_KW * 1e3
    _check_the_household_guard(guarded)
    rising.doubts_within(10)
    for one in (guarded, rising):
        one.site.sim.surplus.power_w = UNSEEN_KW * 1e3
    _down_and_back(sites)


def _following(make_site: MakeSite, inputs: tuple[Input, ...]) -> list[Blinded]:
    sites = [Blinded(make_site(lost.site_id, surplus_kw=SEEN_KW, models=SMALL, hashing=8), lost) for lost in inputs]
    for one in sites:
        rules = {**FAILSAFE, "fallback_after": f"{one.lost.fallback_after_s:g} s", **one.lost.rules}
        one.site.configure(failsafe=rules, ramp={"fallback": "1000 %/min"})
        one.site.daemon.start(wait=False)
    _until_together(sites, Blinded.follows, STARTED_WITHIN_S, "load at the surplus")
    return sites


def _down_and_back(sites: list[Blinded]) -> None:
    _until_together(sites, Blinded.fallen, 40, "down to the fallback")
    for one in sites:
        one.check_the_way_down()
    for one in sites:
        one.mend()
    _until_together(sites, lambda one: one.site.sim.load_kw > 8, 25, "load up again")
    for one in sites:
        one.check_the_way_back()


def _check_the_household_guard(one: Blinded) -> None:
    """Without its site meter the site still gives the grid its despatch first: down to the cap, and not below."""
    sim = one.site.sim
    tolerance_kw = 0.01 * sim.rated_w / 1e3
    until(lambda: sim.load_kw < GUARDED_KW + tolerance_kw, 6, "shed to what the grid leaves")
    assert "fallback" not in one.states, "the guard was not what lowered it"
    assert sim.load_kw > GUARDED_KW - 4


def _until_together(sites: list[Blinded], holds: Callable[[Blinded], bool], within_s: float, what: str) -> None:
    """All of them in one look: what one had a moment ago it may have lost to a busy machine since."""
    until(
        lambda: all(holds(one) for one in sites),
        within_s,
        f"{what}, all of {', '.join(one.lost.site_id for one in sites)}",
    )
