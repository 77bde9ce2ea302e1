"""The command line: arguments only. What a command does stands in controller/commands or controller/app."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

CONFIG_OPTION = click.option(
    "--config",
    "config_path",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="The site file (TOML).",
)
RUNTIME = Path("/run/curtaild")  # where the systemd unit has the sockets
PEM_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="curtaild")
def main() -> None:
    """A mining-site load controller: the fleet consumes the plant's surplus, and not a watt more."""


@main.command()
@CONFIG_OPTION
def run(config_path: Path) -> None:
    """Run the daemon for one site until SIGTERM."""
    from controller.commands.run import run_site

    sys.exit(run_site(config_path, os.environ))


@main.command()
@CONFIG_OPTION
@click.option("--miners", is_flag=True, help="Also ask every miner for its profiles, and compare. Only reads.")
def check(config_path: Path, miners: bool) -> None:
    """Validate a site and print its effective configuration."""
    from controller.commands.check import check as check_site

    sys.exit(check_site(config_path, miners=miners))


def _broker_options(command: Callable[..., None]) -> Callable[..., None]:
    """Which site, and the broker on which it listens."""
    for option in (
        click.option("--tls-key", type=PEM_FILE, envvar="CURTAILD_TLS_KEY", help="That certificate's private key."),
        click.option(
            "--tls-certificate", type=PEM_FILE, envvar="CURTAILD_TLS_CERTIFICATE", help="Who we are at the broker."
        ),
        click.option(
            "--tls-ca", type=PEM_FILE, envvar="CURTAILD_TLS_CA", help="Speak TLS and trust these certificates."
        ),
        click.option(
            "--password-secret", help="Name of the secret with the broker's password; never the password itself."
        ),
        click.option("--username", envvar="CURTAILD_USERNAME", help="Name at the broker."),
        click.option(
            "--broker", default="127.0.0.1:1883", envvar="CURTAILD_BROKER", show_default=True, help="host:port"
        ),
        click.option("--site", required=True, help="The site's id."),
    ):
        command = option(command)
    return command


@main.command()
@_broker_options
@click.option("--for", "lifetime", default="15m", show_default=True, help="How long the order holds, as 90s, 15m, 2h.")
@click.option(
    "--at",
    "begins",
    help="When it begins: 18:05 by this machine's local time, 18:05Z in UTC, or a whole ISO 8601 time.",
)
@click.option(
    "--class", "dispatch_class", type=click.Choice(["normal", "economic", "emergency", "test"]), default="normal"
)
@click.option("--priority", default=0, show_default=True, help="Breaks ties between targets; the highest counts.")
@click.option("--issuer", help="Who orders; this account at this machine unless given.")
@click.option("--reason", default="", help="A few words for the journal.")
@click.option("--wait", type=click.Choice(["accepted", "reached", "end"]), default="reached", show_default=True)
@click.option(
    "--within", default="2m", show_default=True, help="Give up waiting after this long, or so long after --at."
)
@click.option("--json", "as_json", is_flag=True, help="Answers as JSON lines.")
@click.argument("kind", type=click.Choice(["cap", "target", "release"]))
@click.argument("power", required=False)
def dispatch(**given: Any) -> None:
    """Send one order to a site and show its answers: `curtaild dispatch --site demo cap 400kW --for 15m`."""
    from controller.commands.dispatch import dispatch_from_arguments

    try:
        sys.exit(dispatch_from_arguments(given, os.environ, sys.stdout))
    except ValueError as error:
        raise click.UsageError(str(error)) from None


@main.command()
@_broker_options
@click.option("--every", default="10s", show_default=True, help="One heartbeat per this long.")
@click.option("--for", "lifetime", help="End after this long; without it, at Ctrl-C.")
def heartbeat(**given: Any) -> None:
    """Send a dispatcher's heartbeats to a site whose lease requires them."""
    from controller.commands.heartbeat import heartbeat_from_arguments

    try:
        sys.exit(heartbeat_from_arguments(given, os.environ, sys.stdout))
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _socket_options(command: Callable[..., None]) -> Callable[..., None]:
    """Where the daemon answers: by its systemd instance, by its site file, or named directly."""

    @functools.wraps(command)
    def told(site: str | None, config_path: Path | None, socket_path: Path | None, **given: Any) -> None:
        command(socket_path=_socket(site, config_path, socket_path), **given)

    for option in (
        click.option("--socket", "socket_path", type=click.Path(path_type=Path), help="The daemon's console socket."),
        click.option("--config", "config_path", type=click.Path(dir_okay=False, path_type=Path), help="The site file."),
        click.option("--site", metavar="NAME", help="The daemon that systemd runs as curtaild@NAME."),
    ):
        told = option(told)
    return told


def _socket(site: str | None, config_path: Path | None, socket_path: Path | None) -> Path:
    if socket_path is not None:
        return socket_path
    if site is not None:
        return RUNTIME / site / "control.sock"
    if config_path is None:
        raise click.UsageError("say which daemon: --site NAME, --config SITE.toml or --socket PATH")
    from controller.commands.status import socket_of_site

    try:
        return socket_of_site(config_path, os.environ)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


@main.command()
@_socket_options
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def status(socket_path: Path, as_json: bool) -> None:
    """The site on one page: what it should draw, what bounds it, what it draws."""
    from controller.commands.status import run_status

    sys.exit(run_status(socket_path, as_json=as_json, out=sys.stdout, errors=sys.stderr))


@main.command()
@_socket_options
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.argument("miner")
def explain(socket_path: Path, as_json: bool, miner: str) -> None:
    """Why one miner is where it is."""
    from controller.commands.status import run_explain

    sys.exit(run_explain(socket_path, miner, as_json=as_json, out=sys.stdout, errors=sys.stderr))


@main.command()
@click.option(
    "--config",
    "config_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Other settings, for the same miners: what would they have decided?",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.argument("journal", type=click.Path(path_type=Path))
def replay(config_path: Path | None, as_json: bool, journal: Path) -> None:
    """Run a journal's recorded inputs through the core again and compare every decision, byte for byte.

    Exit code 0: all came out as recorded (or --config asked for differences), 1: it did not, 2: it cannot be replayed.
    """
    from controller.commands.replay import run_replay

    sys.exit(run_replay(journal, config_path, os.environ, as_json=as_json, out=sys.stdout, errors=sys.stderr))


@main.command()
@_socket_options
@click.option("--for", "lifetime", default="15m", show_default=True, help="How long the order would hold.")
@click.option("--class", "dispatch_class", type=click.Choice(["normal", "economic", "emergency"]), default="normal")
@click.option("--issuer", help="Who would order; this account at this machine unless given.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.argument("kind", type=click.Choice(["cap", "target", "release"]))
@click.argument("power", required=False)
def preview(socket_path: Path, **given: Any) -> None:
    """What an order would do: `curtaild preview cap 400kW`. Moves nothing and orders nothing."""
    from controller.commands.preview import run_preview

    try:
        sys.exit(run_preview(socket_path, given, out=sys.stdout, errors=sys.stderr))
    except ValueError as error:
        raise click.UsageError(str(error)) from None


@main.command()
@_socket_options
@click.option("--for", "lifetime", required=True, help="How long the cap holds, as 30m or 2h; then it ends by itself.")
@click.argument("power")
def cap(socket_path: Path, lifetime: str, power: str) -> None:
    """Hold the site at or below a power for a while: `curtaild cap 300kW --for 1h`."""
    from controller.commands.operate import run_cap

    try:
        sys.exit(run_cap(socket_path, power, lifetime, out=sys.stdout, errors=sys.stderr))
    except ValueError as error:
        raise click.UsageError(str(error)) from None


@main.command()
@_socket_options
def release(socket_path: Path) -> None:
    """End the caps people set on this machine; a dispatcher's orders stay."""
    from controller.commands.operate import run_release

    sys.exit(run_release(socket_path, out=sys.stdout, errors=sys.stderr))


def _miner_arguments(command: Callable[..., None]) -> Callable[..., None]:
    """Named miners, or all of them."""
    everyone = click.option("--all", "everyone", is_flag=True, help="Every miner of the site.")
    return everyone(click.argument("miners", nargs=-1)(command))


@main.command()
@_socket_options
@_miner_arguments
def adopt(socket_path: Path, everyone: bool, miners: tuple[str, ...]) -> None:
    """Take miners into control: sleepers of somebody else, and miners that were given back."""
    from controller.commands.operate import run_order

    named = _named(everyone, miners)
    sys.exit(run_order(socket_path, "adopt", named, out=sys.stdout, errors=sys.stderr))


@main.command()
@_socket_options
@_miner_arguments
def unquarantine(socket_path: Path, everyone: bool, miners: tuple[str, ...]) -> None:
    """Give miners in quarantine another chance."""
    from controller.commands.operate import run_order

    named = _named(everyone, miners)
    sys.exit(run_order(socket_path, "unquarantine", named, out=sys.stdout, errors=sys.stderr))


@main.command()
@_socket_options
@_miner_arguments
def restore(socket_path: Path, everyone: bool, miners: tuple[str, ...]) -> None:
    """Give miners back: the profile each had before us, and no command until `curtaild adopt`.

    Sleeping miners stay asleep.
    """
    from controller.commands.operate import run_restore

    named = _named(everyone, miners)
    sys.exit(run_restore(socket_path, named, out=sys.stdout, errors=sys.stderr))


def _named(everyone: bool, miners: tuple[str, ...]) -> list[str]:
    """The miners meant; none means all."""
    if everyone == bool(miners):
        raise click.UsageError("name miners, or say --all")
    return list(miners)
