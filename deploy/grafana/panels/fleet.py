"""Miners, many at a time and one by one."""

from __future__ import annotations

from deploy.grafana.model import NONE_IS_GOOD, Dashboard, Query, Row, lines, number, of, q, rate, stacked, table

ON_MINER = "on (site, instance, miner)"
INFO = of("curtaild_miner_info")

FLEET = Dashboard(
    "curtaild-fleet",
    "curtaild: fleet",
    "Miners: what they do, what they were told, what telemetry proved. Single miners come from /metrics/miners.",
    (
        Row(
            "Now",
            (
                number("Miners", "All of the inventory.", "short", q("site:curtaild_miners:sum")),
                number("Hashing", "Awake and at work.", "short", q("curtaild_miners", more='state="hashing"')),
                number(
                    "Do not answer",
                    "They count at what they drew last and cannot be curtailed.",
                    "percentunit",
                    q("site:curtaild_miners_unreachable:ratio"),
                    steps=((None, "green"), (0.02, "yellow"), (0.05, "red")),
                ),
                number(
                    "In quarantine",
                    "They do not obey: no plan counts on them.",
                    "percentunit",
                    q("site:curtaild_miners_quarantined:ratio"),
                    steps=((None, "green"), (0.05, "yellow"), (0.1, "red")),
                ),
                number(
                    "Lost at once",
                    "Miners of a mass disconnect that are still away.",
                    "short",
                    q("curtaild_miners_unreachable_at_once"),
                    **NONE_IS_GOOD,
                ),
                number(
                    "Without work",
                    "Miners whose pools do not answer, when many lost them at once.",
                    "short",
                    q("curtaild_miners_without_work"),
                    **NONE_IS_GOOD,
                ),
                number(
                    "Contradict the inventory",
                    "Another model or firmware answers there: left alone.",
                    "short",
                    q("curtaild_miners", more='state="contradicts"'),
                    **NONE_IS_GOOD,
                ),
            ),
        ),
        Row(
            "States and commands",
            (
                stacked(
                    "Miners by state",
                    "Every miner is in exactly one.",
                    "short",
                    q("curtaild_miners", "{{site}} {{state}}"),
                    width=24,
                    height=9,
                ),
                lines(
                    "Commands",
                    "Decided, by verb; urgent ones belong to a shed.",
                    "cps",
                    Query(
                        f"sum by (site, verb, urgent) ({rate('curtaild_commands_total')})",
                        "{{site}} {{verb}} urgent={{urgent}}",
                    ),
                    width=8,
                ),
                lines(
                    "Outcomes",
                    "What drivers learned. Applied: the mode was read back once. It is no proof.",
                    "cps",
                    Query(f"sum by (site, outcome) ({rate('curtaild_outcomes_total')})", "{{site}} {{outcome}}"),
                    width=8,
                ),
                lines(
                    "Verdicts",
                    "What telemetry proved. Settled is what should be seen.",
                    "cps",
                    Query(f"sum by (site, verdict) ({rate('curtaild_verdicts_total')})", "{{site}} {{verdict}}"),
                    width=8,
                ),
                lines(
                    "Failed commands",
                    "Refused, unsupported, not arrived or not answered, of all that were sent within 15 minutes.",
                    "percentunit",
                    q("site:curtaild_outcomes_failed:ratio_rate15m"),
                    steps=((None, "green"), (0.2, "red")),
                    width=8,
                ),
                lines(
                    "Verdicts other than settled, by class",
                    "A response class is a model with its firmware: one that misbehaves stands out.",
                    "cps",
                    Query(
                        "sum by (site, class, verdict) (" + rate("curtaild_verdicts_total", 'verdict!="settled"') + ")",
                        "{{site}} {{class}} {{verdict}}",
                    ),
                    width=8,
                ),
                lines(
                    "Age of telemetry",
                    "Median and oldest of the miners ever read. Beyond 45 s it proves nothing (default).",
                    "s",
                    q("curtaild_telemetry_age_seconds", "{{site}} quantile {{quantile}}"),
                    steps=((None, "green"), (45, "red")),
                    width=8,
                ),
            ),
        ),
        Row(
            "Limits and waves",
            (
                lines(
                    "Limits",
                    "Expected below a feeder, transformer, container or phase, as a share of what it may carry.",
                    "percentunit",
                    Query(
                        f"{of('curtaild_limit_power_watts')} / {of('curtaild_limit_rating_watts')}",
                        "{{site}} {{limit}}",
                    ),
                    steps=((None, "green"), (0.95, "yellow"), (1.0, "red")),
                    width=8,
                ),
                lines(
                    "Starting",
                    "Miners that boot, by class and feeder, and how many may at once.",
                    "short",
                    q("curtaild_restore_starting_miners", "{{site}} {{class}} {{feeder}}"),
                    q("curtaild_restore_wave_miners", "{{site}} {{class}} {{feeder}} may"),
                    width=8,
                ),
                lines(
                    "Boots that succeed",
                    "Of the wakes judged lately; waves stop below waves.success_min.",
                    "percentunit",
                    q("curtaild_class_boot_success_ratio", "{{site}} {{class}}"),
                    width=8,
                ),
                lines(
                    "True over reported watts",
                    "What the site meter shows of a class over what its miners say; missing until known to 3 %.",
                    "percentunit",
                    q("curtaild_class_true_ratio", "{{site}} {{class}}"),
                    width=24,
                ),
                table(
                    "Seconds until power moves, by class and verb",
                    "As expected now: learned from readings, or as configured.",
                    "s",
                    Query(of("curtaild_class_dead_seconds")),
                ),
                table(
                    "Seconds from there to 90 %, by class and verb",
                    "As expected now.",
                    "s",
                    Query(of("curtaild_class_90_seconds")),
                ),
                table(
                    "Commands behind what was learned",
                    "By class and verb; nothing where the configured seconds still count.",
                    "short",
                    Query(
                        f"{of('curtaild_class_commands')} and on (site, instance, class, verb)"
                        f" {of('curtaild_class_learned')} == 1"
                    ),
                ),
                table(
                    "Wakes judged, by class",
                    "Older ones fade.",
                    "short",
                    Query(of("curtaild_class_boots")),
                ),
                table(
                    "Watts asleep, by class",
                    "What sleepers say that they draw, the middle.",
                    "watt",
                    Query(of("curtaild_class_sleep_watts")),
                ),
            ),
        ),
        Row(
            "Single miners",
            (
                stacked(
                    "Power by model",
                    "What the miners themselves say; those that tell no watts are missing.",
                    "watt",
                    Query(
                        f"sum by (site, model) ({of('curtaild_miner_power_watts')}"
                        f" * {ON_MINER} group_left (model) {INFO})",
                        "{{site}} {{model}}",
                    ),
                ),
                stacked(
                    "Expected power by feeder",
                    "What miners should be drawing by what they were told.",
                    "watt",
                    Query(
                        f"sum by (site, feeder) ({of('curtaild_miner_expected_watts')}"
                        f" * {ON_MINER} group_left (feeder) {INFO})",
                        "{{site}} {{feeder}}",
                    ),
                ),
                table(
                    "In quarantine",
                    "What they draw counts, and cannot be curtailed. curtaild explain MINER tells the story.",
                    "short",
                    Query(
                        of("curtaild_miner_verdict", 'verdict="quarantined"')
                        + f" * {ON_MINER} group_left (model, firmware, feeder) {INFO}"
                    ),
                ),
                table(
                    "Do not answer, or are not what the inventory says",
                    "By state and by where they hang: a whole feeder at once is a switch or a breaker.",
                    "short",
                    Query(
                        of("curtaild_miner_state", 'state=~"unreachable|unknown|contradicts"')
                        + f" * {ON_MINER} group_left (model, firmware, feeder) {INFO}"
                    ),
                ),
                table(
                    "Furthest from what was expected",
                    "Watts a miner says it draws beyond, or below, what it should.",
                    "watt",
                    Query(f"topk(20, abs({of('curtaild_miner_power_watts')} - {of('curtaild_miner_expected_watts')}))"),
                ),
                table(
                    "Most failed attempts",
                    "Commands in a row that telemetry did not confirm; at verify.attempts comes the quarantine.",
                    "short",
                    Query(f"topk(20, {of('curtaild_miner_failed_attempts')} > 0)"),
                ),
                lines(
                    "Planned and told",
                    "The sum of what the plan wants and of what miners say.",
                    "watt",
                    Query(f"sum by (site) ({of('curtaild_miner_planned_watts')})", "{{site}} planned"),
                    Query(f"sum by (site) ({of('curtaild_miner_power_watts')})", "{{site}} told"),
                ),
                lines(
                    "Miners read longest ago",
                    "The ten with the oldest telemetry.",
                    "s",
                    Query(f"topk(10, {of('curtaild_miner_telemetry_age_seconds')})", "{{site}} {{miner}}"),
                ),
            ),
        ),
    ),
)
