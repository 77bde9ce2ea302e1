"""Orders and answers over MQTT."""

from __future__ import annotations

from deploy.grafana.model import (
    NONE_IS_GOOD,
    YES_IS_GOOD,
    Dashboard,
    Query,
    Row,
    lines,
    number,
    of,
    per_second,
    q,
    rate,
    states,
)

DISPATCH = Dashboard(
    "curtaild-dispatch",
    "curtaild: dispatch",
    "Orders and answers over MQTT. Empty on a site without a broker.",
    (
        Row(
            "Now",
            (
                number("Broker", "Connected or not.", "short", q("curtaild_mqtt_connected"), **YES_IS_GOOD),
                number(
                    "Last heartbeat",
                    "Of the dispatcher. Under a lease the site goes to its fallback after 120 s without one (default).",
                    "s",
                    q("curtaild_dispatcher_heartbeat_age_seconds"),
                    steps=((None, "green"), (60, "yellow"), (120, "red")),
                ),
                number("Orders in force", "Accepted and not over yet.", "short", q("curtaild_active_orders")),
                number(
                    "Answers waiting",
                    "Not yet taken over by the broker.",
                    "short",
                    q("curtaild_mqtt_answers_waiting"),
                    steps=((None, "green"), (10, "yellow"), (100, "red")),
                ),
                number(
                    "Answers dropped",
                    "Within the range shown; the dispatcher never saw them.",
                    "short",
                    Query(f"increase({of('curtaild_mqtt_answers_dropped_total')}[$__range])"),
                    **NONE_IS_GOOD,
                ),
                number(
                    "Last order: 90 % of the way",
                    "Seconds from its arrival.",
                    "s",
                    q("curtaild_order_progress_seconds", more='percent="90"'),
                ),
            ),
        ),
        Row(
            "Orders",
            (
                lines(
                    "What was ordered and what was drawn",
                    "The cap is the tightest of all, the surplus included.",
                    "watt",
                    q("curtaild_cap_watts", "{{site}} cap"),
                    q("curtaild_target_watts", "{{site}} target"),
                    q("curtaild_measured_watts", "{{site}} measured"),
                    width=24,
                    height=9,
                ),
                lines(
                    "Answers",
                    "By status; an order is answered RECEIVED, then judged, then REACHED or EXPIRED.",
                    "cps",
                    Query(f"sum by (site, status) ({rate('curtaild_dispatch_answers_total')})", "{{site}} {{status}}"),
                ),
                lines(
                    "Refusals by code",
                    "docs/dispatching.md lists the codes.",
                    "cps",
                    Query(
                        "sum by (site, code) (" + rate("curtaild_dispatch_answers_total", 'status="REJECTED"') + ")",
                        "{{site}} {{code}}",
                    ),
                ),
                lines(
                    "Way of the last order",
                    "Seconds to 50, 90 and 100 %.",
                    "s",
                    q("curtaild_order_progress_seconds", "{{site}} {{percent}} %"),
                ),
                lines(
                    "Messages on the order topic",
                    "All of them, and those that could not be used.",
                    "cps",
                    per_second("curtaild_mqtt_orders_received_total", "{{site}} received"),
                    per_second("curtaild_mqtt_orders_malformed_total", "{{site}} malformed"),
                    per_second("curtaild_mqtt_orders_retained_total", "{{site}} retained"),
                    per_second("curtaild_mqtt_orders_refused_full_total", "{{site}} mailbox full"),
                ),
            ),
        ),
        Row(
            "Connection",
            (
                states(
                    "Broker",
                    "Connected, over time.",
                    q("curtaild_mqtt_connected"),
                    **YES_IS_GOOD,
                ),
                lines(
                    "Connections made and lost",
                    "Per interval; many of both is a flapping link.",
                    "short",
                    Query(f"increase({of('curtaild_mqtt_connects_total')}[$__rate_interval])", "{{site}} made"),
                    Query(f"increase({of('curtaild_mqtt_losses_total')}[$__rate_interval])", "{{site}} lost"),
                    height=6,
                ),
                lines(
                    "Answers and events to the broker",
                    "Sent, waiting and dropped.",
                    "short",
                    per_second("curtaild_mqtt_answers_sent_total", "{{site}} answers sent/s"),
                    q("curtaild_mqtt_answers_waiting", "{{site}} answers waiting"),
                    per_second("curtaild_mqtt_events_dropped_total", "{{site}} events dropped/s"),
                    height=6,
                ),
                lines(
                    "Heartbeat of the dispatcher",
                    "Age of the last one.",
                    "s",
                    q("curtaild_dispatcher_heartbeat_age_seconds"),
                    steps=((None, "green"), (120, "red")),
                    height=6,
                ),
            ),
        ),
    ),
)
