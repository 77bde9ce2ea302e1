"""`curtaild-sim demo`: the whole thing, watched, judged and reported."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import click
from rich.console import Console

from simulators.asic.fleet import behaviour_name
from simulators.asic.models import Family
from simulators.asic.response import Behaviour
from simulators.demo.figures import figures_of, report_of
from simulators.demo.html import write_html
from simulators.demo.page import PlainShow, live_show
from simulators.demo.processes import DemoError
from simulators.demo.promises import Expected, judge, kept
from simulators.demo.recording import Recording
from simulators.demo.report import print_outcome, write_json
from simulators.demo.run import run_demo
from simulators.demo.settings import DemoSettings, Part, scenario_of
from simulators.demo.site_files import CONSOLE_SOCKET, miner_id, policy_lines
from simulators.miners_cli import raise_file_limit
from simulators.scenario import DEMO, FleetScenario, Scenario
from simulators.trace import TraceError

EXIT_KEPT: Final = 0
EXIT_BROKEN: Final = 1
EXIT_FAILED: Final = 2
EXIT_INTERRUPTED: Final = 130
MINERS_MIN: Final = 40
RUN_PREFIX: Final = "curtaild-demo-"
SOCKET_PATH_MAX: Final = 107  # what the kernel allows for a UNIX socket
SECONDS_MIN: Final = 10.0
_FILES_PER_MINER: Final = 3
_FILES_BESIDES: Final = 128


@click.command("demo")
@click.option("--seconds", type=click.FloatRange(min=SECONDS_MIN), default=180.0, show_default=True, help="How long.")
@click.option(
    "--report",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("report.json"),
    show_default=True,
    help="Where the figures go; the page with the chart is written beside it.",
)
@click.option("--day", help="Day of the signal; default: the demo's, or the first of your own file.")
@click.option("--start-second", type=float, help="Second of the day to start at.")
@click.option("--trace", type=click.Path(dir_okay=False, path_type=Path), help="CSV of signals of your own.")
@click.option(
    "--seed", type=click.IntRange(min=0), default=DEMO.fleet.seed, show_default=True, help="Same seed, same hardware."
)
@click.option("--miners", type=click.IntRange(min=MINERS_MIN), default=DEMO.fleet.size, show_default=True)
@click.option(
    "--without",
    type=click.Choice(["trim", "allocation", "feedback"]),
    multiple=True,
    help="Switch a part of the daemon off and see which promise breaks; repeatable.",
)
@click.option("--keep", is_flag=True, help="Keep the run directory: site files, logs, journal.")
@click.option("--no-page", is_flag=True, help="Plain lines instead of the live page.")
def demo_command(
    seconds: float,
    report: Path,
    day: str | None,
    start_second: float | None,
    trace: Path | None,
    seed: int,
    miners: int,
    without: tuple[Part, ...],
    keep: bool,
    no_page: bool,
) -> None:
    """Watch a daemon keep a simulated site under the surplus of a simulated plant; ends with a report.

    Exit code 0: the run kept the demo's promises. 1: it did not, and says which. 2: it could not run.
    """
    settings = DemoSettings(seconds, report, day, start_second, trace, seed, miners, without, keep, not no_page)
    sys.exit(run_command(settings, Console()))


def run_command(settings: DemoSettings, console: Console) -> int:
    """Run, judge, write both reports; returns the exit code."""
    raise_file_limit(settings.miners * _FILES_PER_MINER + _FILES_BESIDES)
    scenario = scenario_of(settings)
    run_dir = make_run_dir()
    good = False
    try:
        settings.report.parent.mkdir(parents=True, exist_ok=True)
        _introduce(settings, scenario, run_dir, console)
        recording = _record(settings, scenario, run_dir, console)
        console.print("working out what a perfect operator would have absorbed ...", style="dim")
        good, code = _conclude(settings, scenario, recording, console)
    except (DemoError, TraceError, OSError) as error:
        console.print(f"the demo could not run: {error}", style="bold red", markup=False, highlight=False)
        code = EXIT_FAILED
    if settings.keep or not good:
        console.print(f"site files, logs and journal: {run_dir}", markup=False, highlight=False, soft_wrap=True)
    else:
        shutil.rmtree(run_dir, ignore_errors=True)
    return code


def make_run_dir() -> Path:
    """Make a directory for the run, under /tmp when the system's own choice is too long for the name of a socket."""
    path = Path(tempfile.mkdtemp(prefix=RUN_PREFIX))
    if len(os.fsencode(path / CONSOLE_SOCKET)) <= SOCKET_PATH_MAX:
        return path
    path.rmdir()
    return Path(tempfile.mkdtemp(prefix=RUN_PREFIX, dir="/tmp"))


def _record(settings: DemoSettings, scenario: Scenario, run_dir: Path, console: Console) -> Recording:
    if settings.page and console.is_terminal:
        with live_show(console) as show:
            return asyncio.run(run_demo(settings, scenario, run_dir, show))
    return asyncio.run(run_demo(settings, scenario, run_dir, PlainShow(console)))


def _conclude(settings: DemoSettings, scenario: Scenario, recording: Recording, console: Console) -> tuple[bool, int]:
    """Judge and write; returns whether the promises were kept, and the exit code."""
    figures = figures_of(recording, scenario)
    report = report_of(recording, figures, scenario, _context(settings, scenario))
    promises = judge(report, expected_of(scenario.fleet))
    report["promises"] = [
        {"name": each.name, "wanted": each.wanted, "got": each.got, "kept": each.kept} for each in promises
    ]
    page = settings.report.with_suffix(".html")
    write_json(settings.report, report)
    write_html(page, recording, figures, report)
    print_outcome(console, report, promises)
    console.print(f"report: {settings.report}\nchart:  {page}", markup=False, highlight=False, soft_wrap=True)
    good = kept(promises)
    if recording.interrupted:
        return good, EXIT_INTERRUPTED
    return good, EXIT_KEPT if good else EXIT_BROKEN


def expected_of(fleet: FleetScenario) -> Expected:
    """Who must end in quarantine, and who may: a refuser is caught when it is asked for something that shows."""
    behaviours = list(enumerate(fleet.behaviours()))
    shows = Behaviour.LIAR_SLEEP | Behaviour.NEVER_WAKES
    must = [miner_id(index) for index, behaviour in behaviours if behaviour & shows]
    may = [miner_id(index) for index, behaviour in behaviours if behaviour and not behaviour & shows]
    return Expected(must, may)


def _context(settings: DemoSettings, scenario: Scenario) -> Mapping[str, object]:
    """What the run was: policy, seed, trace, who misbehaves."""
    trace = scenario.surplus_trace()
    miners = zip(scenario.fleet.miners(), scenario.fleet.behaviours(), strict=True)
    misbehaving = {
        miner_id(index): f"{behaviour_name(behaviour)}, {model.name} ({model.family})"
        for index, (model, behaviour) in enumerate(miners)
        if behaviour
    }
    return {
        "dispatches_planned": len(scenario.dispatches),
        "policy": dict(policy_lines(scenario)),
        "without": list(settings.without),
        "seed": settings.seed,
        "trace": {
            "file": "bundled" if settings.trace is None else str(settings.trace),
            "day": trace.trace.day,
            "start_second": trace.start_second_of_day,
        },
        "rated_kw": round(scenario.fleet.rated_w() / 1000.0, 1),
        "misbehaving": misbehaving,
    }


def _mix(fleet: FleetScenario) -> str:
    """How many miners there are of each family."""
    counts = Counter(model.family for model in fleet.miners())
    return ", ".join(f"{counts[family]} {family}" for family in Family if counts[family])


def _introduce(settings: DemoSettings, scenario: Scenario, run_dir: Path, console: Console) -> None:
    trace = scenario.surplus_trace()
    fleet = scenario.fleet
    lines = [
        (
            f"curtaild demo: {settings.seconds:g} s, {fleet.size} miners of {fleet.rated_w() / 1000:.0f} kW, "
            f"{_mix(fleet)}; {fleet.hashing} hashing, the others asleep; surplus of {trace.trace.day} from second "
            f"{trace.start_second_of_day:g}; seed {settings.seed}"
        ),
        "policy: " + ", ".join(f"{key} {value}" for key, value in policy_lines(scenario)),
    ]
    if settings.without:
        lines.append(f"switched off: {', '.join(settings.without)}")
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=not console.is_terminal)
    console.print(f"run directory: {run_dir}", markup=False, highlight=False, soft_wrap=True)
