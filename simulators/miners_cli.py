"""`curtaild-sim miners` and `curtaild-sim fault`: a farm of simulated miners, and trouble for it."""

import asyncio
import contextlib
import ipaddress
import resource
import signal
from dataclasses import replace
from pathlib import Path

import click

from simulators.asic.control import ControlError, control_socket, send_fault
from simulators.asic.crowd import BootCrowd
from simulators.asic.farm import MinerFarm, VendorPorts
from simulators.asic.fleet import ALL_MODELS, behaviour_name, keys_by_share, mixed_fleet
from simulators.asic.models import LUXOS_MODELS, Family
from simulators.asic.response import Mode
from simulators.asic.spec import FleetSpec
from simulators.faults import Fault

_FILES_PER_MINER = 4  # two listening ports and a client on each
_FILES_BESIDES = 64


@click.command("miners")
@click.option("--count", type=click.IntRange(min=1), default=20, show_default=True, help="How many miners.")
@click.option(
    "--vendor-ports",
    metavar="NETWORK",
    help="Give each miner an address of this 127.x.y.z/n network, on the vendor's ports 4028 and (if permitted) 80. "
    "Without it every miner gets a free port of 127.0.0.1.",
)
@click.option(
    "--model",
    "models",
    type=click.Choice(ALL_MODELS),
    multiple=True,
    help="Models, dealt in turn; repeatable. Default: those of LuxOS.",
)
@click.option(
    "--family",
    "families",
    metavar="NAME[=SHARE]",
    multiple=True,
    help="Families of firmware by share instead, all models of each: luxos, whatsminer, antminer; repeatable.",
)
@click.option("--asleep", type=click.IntRange(min=0), default=0, help="How many start asleep, least efficient first.")
@click.option("--liars", type=click.IntRange(min=0), default=0, help="Acknowledge sleep and hash on.")
@click.option("--never-wakers", type=click.IntRange(min=0), default=0, help="Acknowledge wake-up and stay asleep.")
@click.option("--refusers", type=click.IntRange(min=0), default=0, help="Answer every write with an error.")
@click.option("--ignorers", type=click.IntRange(min=0), default=0, help="Acknowledge every write and do nothing.")
@click.option("--revivers", type=click.IntRange(min=0), default=0, help="Sleep, and hash again 5 s later.")
@click.option("--silent-drawers", type=click.IntRange(min=0), default=0, help="Sleep in all they show, and draw on.")
@click.option(
    "--boots-at-once",
    type=click.IntRange(min=1),
    help="Miners that may be starting at once; of more only a share comes up. Default: any number.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="Same seed, same fleet.")
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), help="Stop after this long.")
@click.option(
    "--control-socket",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Listen here for `curtaild-sim fault`.",
)
def miners_command(
    count: int,
    vendor_ports: str | None,
    models: tuple[str, ...],
    families: tuple[str, ...],
    asleep: int,
    liars: int,
    never_wakers: int,
    refusers: int,
    ignorers: int,
    revivers: int,
    silent_drawers: int,
    boots_at_once: int | None,
    seed: int,
    seconds: float | None,
    control_socket: Path | None,
) -> None:
    """Run simulated miners until interrupted; print one line for each."""
    if models and families:
        raise click.UsageError("give models or families, not both")
    try:
        spec = mixed_fleet(
            count,
            seed=seed,
            model_keys=keys_by_share(count, _shares(families)) if families else models or LUXOS_MODELS,
            asleep=asleep,
            liars=liars,
            never_wakers=never_wakers,
            refusers=refusers,
            ignorers=ignorers,
            revivers=revivers,
            silent_drawers=silent_drawers,
        )
        spec = replace(spec, boot_crowd=None if boots_at_once is None else BootCrowd(boots_at_once))
        ports = None if vendor_ports is None else VendorPorts(ipaddress.IPv4Network(vendor_ports))
        if ports is not None:
            ports.hosts(count)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    raise_file_limit(count * _FILES_PER_MINER + _FILES_BESIDES)
    try:
        asyncio.run(_serve(spec, ports, seconds, control_socket))
    except (OSError, ControlError) as error:
        raise click.ClickException(str(error)) from error


def _shares(families: tuple[str, ...]) -> dict[Family, float]:
    """From `whatsminer=40` and the like; no share is a share of 1. Raises ValueError with what is wrong."""
    names = {family.name.lower(): family for family in Family}
    shares: dict[Family, float] = {}
    for text in families:
        name, _, share = text.partition("=")
        if name not in names:
            raise ValueError(f"there is no family '{name}'; there are {', '.join(names)}")
        if names[name] in shares:
            raise ValueError(f"family '{name}' is given twice")
        shares[names[name]] = float(share or 1)
    return shares


def raise_file_limit(needed: int) -> None:
    """Allow this process `needed` open files; raises click.ClickException when the system does not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        if hard != resource.RLIM_INFINITY and hard < needed:
            raise click.ClickException(f"this many miners need {needed} open files, the limit is {hard}")
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


async def _serve(spec: FleetSpec, ports: VendorPorts | None, seconds: float | None, control: Path | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with contextlib.AsyncExitStack() as stack:
        farm = await stack.enter_async_context(MinerFarm(spec, ports=ports))
        if control is not None:
            await stack.enter_async_context(control_socket(control, farm.faults))
        _describe(farm)
        ends: list[asyncio.Task[object]] = [loop.create_task(stop.wait()), loop.create_task(farm.wait_broken())]
        await asyncio.wait(ends, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for end in ends:
            end.cancel()


def _describe(farm: MinerFarm) -> None:
    for i, address in enumerate(farm.addresses):
        mode = "asleep" if farm.bank.mode[i] == Mode.SLEEP else "hashing"
        behaviour = behaviour_name(int(farm.bank.behaviour[i]))
        web = "" if address.web_port is None else f"web {address.web_port}"
        model = farm.bank.models[i]
        click.echo(
            f"{i:5d}  {address.host}:{address.port:<5d}  {web:<9s}  {model.name:<17s}  {model.family:<14s}  "
            f"{mode:<7s}  {behaviour}"
        )


@click.command("fault")
@click.option(
    "--socket",
    "control",
    type=click.Path(path_type=Path),
    required=True,
    help="The --control-socket of the running farm.",
)
@click.option("--miner", "miners", type=int, multiple=True, required=True, help="Which miner; repeatable.")
@click.option("--seconds", type=click.FloatRange(min=0), help="The time of `delay`, `drip` and `slow-loris`.")
@click.option("--writes-only", is_flag=True, help="Only answers to writes: these are carried out, reads are sound.")
@click.argument("fault", type=click.Choice([fault.value for fault in Fault]))
@click.argument("state", type=click.Choice(["on", "off"]))
def fault_command(
    control: Path, miners: tuple[int, ...], seconds: float | None, writes_only: bool, fault: str, state: str
) -> None:
    """Switch a fault of a running farm's miner on or off."""
    for miner in miners:
        try:
            send_fault(
                control, miner=miner, fault=Fault(fault), on=state == "on", seconds=seconds, writes_only=writes_only
            )
        except ControlError as error:
            raise click.ClickException(str(error)) from error
        click.echo(f"miner {miner}: {fault} {state}")
