"""The command ``skullgan``: the four verbs and their helpers, each loaded only when called."""

from __future__ import annotations

import importlib

import click

from SkullGANLib import __version__

COMMANDS = {
    "info": "Show what a scan or data set holds and what is odd about it.",
    "phantom": "Make parametric CT of heads or hearts with ground truth.",
    "prepare": "Turn skull CT volumes into a segment data set.",
    "dataset": "Check, merge, split, filter, import and export segment data sets.",
    "train": "Train a generative model on a segment data set; run again to resume.",
    "generate": "Draw synthetic segments from a model.",
    "walk": "Show a smooth walk through what a model draws as a video.",
    "evaluate": "Compare synthetic with real segments.",
    "label": "Paint a few drawn images, and get as many labelled images as wanted.",
    "downstream": "Try what synthetic images are good for: learn a task with and without them.",
    "volume": "Learn one CT volume with a pyramid of GANs, and draw others.",
    "ablation": "Measure what each loss of the pyramid of GANs does, on one CT volume.",
    "turing": "Let readers tell real from synthetic segments by eye.",
    "doctor": "Show Python, torch, devices and memory, and how to mend what is missing.",
    "demo": "Run the whole path on head phantoms.",
}


class LazyGroup(click.Group):
    """Lists its commands from the table above and imports a command's file only when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of the work."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import the command called ``name``."""
        if name not in COMMANDS:
            return None
        return getattr(importlib.import_module(f"SkullGANLib.cli.{name}"), name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table without importing any command."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="skullgan")
def skullgan() -> None:
    """Synthetic skull CT: prepare, train, generate, evaluate."""


def main() -> None:
    """Entry point of ``skullgan`` and ``python -m SkullGANLib``."""
    click.UsageError.exit_code = 1  # 2 means cancelled
    skullgan(prog_name="skullgan")
