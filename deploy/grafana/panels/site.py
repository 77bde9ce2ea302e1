"""Where the load is, where it may be, and what holds it there."""

from __future__ import annotations

from deploy.grafana.model import NO_IS_GOOD, Dashboard, Query, Row, lines, number, of, q, states, table

TRUST_STEPS = ((None, "green"), (1, "yellow"), (2, "orange"), (3, "red"))
TRUST_WORDS = {0: "good", 1: "hold", 2: "frozen upward", 3: "fallback"}

SITE = Dashboard(
    "curtaild-site",
    "curtaild: site",
    "Where the load is, where it may be, and what holds it there.",
    (
        Row(
            "Now",
            (
                number("Site load", "What the site meter shows.", "watt", q("curtaild_measured_watts")),
                number(
                    "May draw",
                    "Cap, ramp and floor together: drawing more for half a minute is an alarm.",
                    "watt",
                    q("site:curtaild_allowed_watts:max"),
                ),
                number(
                    "Surplus", "What the plant can give beyond all it owes others.", "watt", q("curtaild_surplus_watts")
                ),
                number(
                    "Bound by",
                    "What sets the power now; docs/safety.md has the order of precedence.",
                    "short",
                    Query(of("curtaild_binding_bound") + " == 1", "{{bound}}"),
                    shows="name",
                ),
                number(
                    "Trust in inputs",
                    "The worst of all inputs. Anything but good raises nothing.",
                    "short",
                    q("curtaild_fail_safe_state"),
                    steps=TRUST_STEPS,
                    words=TRUST_WORDS,
                ),
                number(
                    "Shedding",
                    "The load falls, or is held down, without a ramp: trip, grid emergency or emergency order.",
                    "short",
                    q("curtaild_shedding"),
                    **NO_IS_GOOD,
                ),
            ),
        ),
        Row(
            "Power",
            (
                lines(
                    "Load and its limits",
                    "Measured follows target, target stays at or below cap unless a ramp is on its way down.",
                    "watt",
                    q("curtaild_surplus_watts", "{{site}} surplus"),
                    q("curtaild_cap_watts", "{{site}} cap"),
                    q("curtaild_target_watts", "{{site}} target"),
                    q("curtaild_expected_watts", "{{site}} expected"),
                    q("curtaild_measured_watts", "{{site}} measured"),
                    q("curtaild_floor_watts", "{{site}} floor"),
                    width=24,
                    height=11,
                ),
                lines(
                    "Surplus not used",
                    "What could have been drawn and was not: ramps, miners that boot, limits of dispatchers.",
                    "watt",
                    q("site:curtaild_unused_surplus_watts"),
                ),
                lines(
                    "Not placed",
                    "Part of the setpoint no miner could take; curtaild status names the reason. Negative while "
                    "miners boot ahead of a ramp.",
                    "watt",
                    q("curtaild_unallocated_watts"),
                    least=None,
                ),
                lines(
                    "Measured less expected",
                    "How well the miners' states explain the meter, and how far estimates of silent ones may be off.",
                    "watt",
                    q("curtaild_residual_watts", "{{site}} residual"),
                    q("curtaild_expected_uncertainty_watts", "{{site}} uncertainty of estimates"),
                    least=None,
                ),
                lines(
                    "Room",
                    "What waking and trimming could add, and what could be shed.",
                    "watt",
                    q("curtaild_available_up_watts", "{{site}} up"),
                    q("curtaild_available_down_watts", "{{site}} down"),
                ),
                lines(
                    "Share of the ramps that rises may use",
                    "Below 1 for a quarter of an hour after the meter rose beyond the ramps.",
                    "percentunit",
                    q("curtaild_rise_share", "{{site}}"),
                    width=24,
                ),
                states(
                    "Binding bound",
                    "What set the power, over time.",
                    q("curtaild_binding_bound", "{{site}} {{bound}}"),
                    width=24,
                    height=9,
                    steps=((None, "transparent"), (1, "blue")),
                    words={0: " ", 1: "binding"},
                ),
            ),
        ),
        Row(
            "Inputs",
            (
                states(
                    "Trust by input",
                    "docs/safety.md says what the site does in each state.",
                    q("curtaild_input_state", "{{site}} {{input}}"),
                    steps=TRUST_STEPS,
                    words=TRUST_WORDS,
                ),
                lines(
                    "Age of the newest sample",
                    "Counted from the moment a read began. By default: 3 s hold, 10 s freeze, 30 s and the site's own "
                    "offset fallback.",
                    "s",
                    q("curtaild_input_age_seconds", "{{site}} {{input}}"),
                    steps=((None, "green"), (3, "yellow"), (10, "orange"), (30, "red")),
                    height=6,
                ),
            ),
        ),
        Row(
            "Feeders that have a meter",
            (
                lines(
                    "Load of feeders",
                    "What the meter shows and what its miners should draw.",
                    "watt",
                    q("curtaild_feeder_load_watts", "{{site}} {{feeder}}"),
                    q("curtaild_feeder_believed_watts", "{{site}} {{feeder}} believed"),
                ),
                lines(
                    "Excess",
                    "Drawn by miners nobody can name; the feeder has that much less room.",
                    "watt",
                    q("curtaild_feeder_excess_watts", "{{site}} {{feeder}}"),
                    width=6,
                ),
                lines(
                    "Sleepers not proved",
                    "Miners that tell no watts and say they sleep; the meter has not agreed yet.",
                    "short",
                    q("curtaild_feeder_unproved_miners", "{{site}} {{feeder}}"),
                    width=6,
                ),
            ),
        ),
        Row(
            "Alarms",
            (
                table(
                    "Firing",
                    "docs/operations.md says what each means and what to do.",
                    "short",
                    Query('ALERTS{alertname=~"Curtaild.+", alertname!="CurtaildWatched", alertstate="firing"}'),
                    width=24,
                ),
            ),
        ),
    ),
)
