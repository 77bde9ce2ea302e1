"""The simulators' command line: arguments only; what a command does stands in its own module."""

from __future__ import annotations

import click

from simulators.demo.command import demo_command
from simulators.miners_cli import fault_command, miners_command
from simulators.plant_cli import plant_command


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="curtaild")
def main() -> None:
    """Hardware that is not there: a power plant, its meters, miners - and the daemon among them."""


for _command in (demo_command, plant_command, miners_command, fault_command):
    main.add_command(_command)
