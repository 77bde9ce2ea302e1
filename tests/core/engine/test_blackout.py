"""What is wanted of a site without power: never less than nothing, which no load can draw."""

from __future__ import annotations


def test_in_a_blackout_no_setpoint_is_below_nothing(kit):
    site = kit.site(kit.policy(), hashing=[True] * 4, surplus_w=15_000.0)
    site.cycles(40)
    site.silent = set(range(4))  # dark: nobody answers, and the meters say so before that is known
    setpoints = []
    for _ in range(60):
        dark = kit.readings(site.now + 1.0, site_load_w=0.0, poi_export_w=0.0, gross_w=0.0)
        setpoints.append(site.cycle(readings={**site.readings(), **dark}).setpoint.power_w)
    assert min(setpoints) >= 0.0
