"""Some minutes of a day from near: what was ordered, what the ramps make of it, set-point and true load.

python -m tests.rig.score.excerpt --day 2016-04-18 --begin 4000 --end 4900 --out docs/pictures/control.svg
"""

from __future__ import annotations

import argparse
from pathlib import Path

from simulators.trace import bundled_trace_path, load_trace
from tests.rig.score.judge import Day
from tests.rig.score.orders import regulation
from tests.rig.score.picture import GAP, LEFT, WIDTH, Frame
from tests.rig.score.plant_site import build_site
from tests.rig.score.runs import ours

WARM_UP_S = 900.0
TALL, LOW, TOP = 300, 90, 44.0


def excerpt(name: str, begin_s: int, end_s: int, rated_w: int) -> str:
    """The SVG of these seconds after the warm-up, from a run that ends with them."""
    site = build_site(1, rated_w)
    trace = load_trace(bundled_trace_path(), name)
    hours = (end_s + 60.0) / 3600.0
    orders = regulation(trace, site.offer.base_w, site.offer.regulation_w, WARM_UP_S, hours)
    run, day = ours(site, orders), Day.of(site, orders)
    part = slice(round(WARM_UP_S) + begin_s, round(WARM_UP_S) + end_s)
    setpoint_w = run.setpoint_w[-len(run.load_w) :]
    lines = (
        ("ordered every 4 s", orders.sampled()[part], "#d0b060", 1.0),
        ("the same within the ramps", day.reference_w[part], "#999", 2.4),
        ("set-point", setpoint_w[part], "#2a7a3a", 1.0),
        ("true load", run.load_w[part], "#1660a8", 1.4),
    )
    low, high = (pick([float(pick(values)) for _, values, _, _ in lines]) / 1e3 for pick in (min, max))
    frame = Frame(TOP, TALL, low, high)
    drawn = [frame.box("", "kW"), *(frame.line(values / 1e3, colour, width) for _, values, colour, width in lines)]
    off_kw = (run.load_w - day.reference_w)[part] / 1e3
    below = Frame(TOP + TALL + GAP, LOW, float(off_kw.min()), float(off_kw.max()))
    drawn += [below.box("true load less what the ramps make of the order", "kW"), below.line(off_kw, "#b03030", 1.0)]
    legend = "".join(
        f'<text x="{LEFT + 190 * place}" y="32" fill="{colour}">{text}</text>'
        for place, (text, _, colour, _) in enumerate(lines)
    )
    tall = TOP + TALL + GAP + LOW + 10
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH + LEFT + 20} {tall:.0f}" '
        'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>'
        f'<text x="{LEFT}" y="14" font-size="13">{name}, {begin_s} to {end_s} s, {site.rated_w / 1e6:.0f} MW</text>'
        f"{legend}{''.join(drawn)}</svg>\n"
    )


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--day", default="2016-04-18")
    parser.add_argument("--begin", type=int, default=4000, help="seconds after the warm-up")
    parser.add_argument("--end", type=int, default=4900)
    parser.add_argument("--rated-mw", type=float, default=1.0)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    given.out.write_text(excerpt(given.day, given.begin, given.end, round(given.rated_mw * 1e6)), encoding="utf-8")


if __name__ == "__main__":
    main()
