"""The daemon itself: cycle, journal, process."""

from __future__ import annotations

from deploy.grafana.model import (
    NO_IS_GOOD,
    YES_IS_GOOD,
    Dashboard,
    Query,
    Row,
    heatmap,
    lines,
    number,
    of,
    per_second,
    q,
    rate,
    table,
)

CONTROLLER = Dashboard(
    "curtaild-controller",
    "curtaild: controller",
    "The daemon itself: cycle, journal, process.",
    (
        Row(
            "Now",
            (
                number(
                    "Answers",
                    "Prometheus reaches it.",
                    "short",
                    q("up", more='job="curtaild"'),
                    **YES_IS_GOOD,
                ),
                number(
                    "Safe mode",
                    "After a crash loop: no meter, no order, no plan, until a person restarts it.",
                    "short",
                    q("curtaild_safe_mode"),
                    **NO_IS_GOOD,
                ),
                number(
                    "Journal writable",
                    "Without it nothing is raised.",
                    "short",
                    q("curtaild_journal_writable"),
                    **YES_IS_GOOD,
                ),
                number(
                    "Running for",
                    "Since its last start; a reload does not count.",
                    "s",
                    Query(f"time() - {of('curtaild_process_start_time_seconds')}"),
                ),
                number(
                    "Cycle, 99 %",
                    "Time of the slowest cycle in a hundred.",
                    "s",
                    q("site:curtaild_cycle_seconds:p99_5m"),
                    steps=((None, "green"), (0.1, "yellow"), (0.25, "red")),
                ),
                number(
                    "Late cycles",
                    "Not over within their period, of all within 15 minutes.",
                    "percentunit",
                    q("site:curtaild_cycle_overruns:ratio_rate15m"),
                    steps=((None, "green"), (0.001, "yellow"), (0.01, "red")),
                ),
                table(
                    "Versions",
                    "Of the daemon and of what it runs on.",
                    "short",
                    q("curtaild_build_info"),
                    width=24,
                    height=4,
                ),
            ),
        ),
        Row(
            "Cycle",
            (
                heatmap(
                    "Time of a cycle",
                    "From freezing its inputs to telling those who look on.",
                    "s",
                    Query(f"sum by (le) ({rate('curtaild_cycle_seconds_bucket')})", "{{le}}"),
                ),
                lines(
                    "Mean and 99 %",
                    "The period is the limit, 1 s by default.",
                    "s",
                    Query(
                        f"{rate('curtaild_cycle_seconds_sum')} / {rate('curtaild_cycle_seconds_count')}",
                        "{{site}} mean",
                    ),
                    q("site:curtaild_cycle_seconds:p99_5m", "{{site}} 99 %"),
                ),
                lines(
                    "Cycles",
                    "One a period; more when urgent inputs start one early.",
                    "cps",
                    per_second("curtaild_cycles_total", "{{site}} cycles"),
                    per_second("curtaild_cycle_overruns_total", "{{site}} late"),
                ),
                lines(
                    "Events",
                    "By level and name. Errors are for a person to read.",
                    "cps",
                    per_second("curtaild_events_total", "{{site}} {{level}} {{name}}"),
                ),
            ),
        ),
        Row(
            "Journal",
            (
                lines(
                    "Time of a commit",
                    "Raising commands wait for one.",
                    "s",
                    q("curtaild_journal_commit_seconds"),
                    steps=((None, "green"), (0.5, "red")),
                    width=8,
                ),
                lines(
                    "Rows waiting",
                    "Not yet on the disk.",
                    "short",
                    q("curtaild_journal_waiting_rows"),
                    width=8,
                ),
                lines(
                    "Rows and lines lost",
                    "Journal rows for want of a disk, log lines for want of a reader or because they came too often.",
                    "cps",
                    per_second("curtaild_journal_rows_lost_total", "{{site}} journal rows"),
                    per_second("curtaild_log_lines_dropped_total", "{{site}} log lines"),
                    per_second("curtaild_log_events_held_back_total", "{{site}} log lines held back"),
                    width=8,
                ),
            ),
        ),
        Row(
            "Process",
            (
                lines(
                    "CPU",
                    "Of one core.",
                    "percentunit",
                    per_second("curtaild_process_cpu_seconds_total"),
                    width=6,
                ),
                lines(
                    "Memory",
                    "Resident; flat after warm-up.",
                    "bytes",
                    q("curtaild_process_resident_memory_bytes"),
                    width=6,
                ),
                lines(
                    "Open files",
                    "Sockets mostly: one for each miner that is being talked to.",
                    "short",
                    q("curtaild_process_open_fds", "{{site}} open"),
                    q("curtaild_process_max_fds", "{{site}} limit"),
                    width=6,
                ),
                lines(
                    "Tasks",
                    "Of the event loop; flat after warm-up.",
                    "short",
                    q("curtaild_asyncio_tasks"),
                    width=6,
                ),
                lines(
                    "Time of a scrape",
                    "Of both pages.",
                    "s",
                    q("scrape_duration_seconds", "{{site}} {{job}}"),
                    width=6,
                ),
                lines(
                    "Series of a scrape",
                    "Grows with the fleet on the miners' page only.",
                    "short",
                    q("scrape_samples_scraped", "{{site}} {{job}}"),
                    width=6,
                ),
            ),
        ),
    ),
)
