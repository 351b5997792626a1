"""``skullgan demo``: the whole path on head phantoms, command by command, as a user would type it."""

from __future__ import annotations

import shlex
import shutil
import time
from pathlib import Path

import click

from SkullGANLib.cli.common import command
from SkullGANLib.cli.main import skullgan
from SkullGANLib.errors import InputError
from SkullGANLib.progress import Progress

MARKER = "demo.txt"
WHAT_IT_SHOWS = (
    ("scans/preview.png", "the head phantoms: axial, coronal and sagittal slices"),
    ("segments/pictures/kept.png", "the segments cut from them, outer surface up"),
    ("segments/pictures/rejected.png", "the pieces left out, each with its reason"),
    ("segments/pictures/where-*.png", "where each segment lies on its head"),
    ("run/samples/*.png", "what the model drew while it learned"),
    ("synthetic.png", "64 synthetic segments"),
    ("report/violin.png", "density ratio, thickness and intensity, real beside synthetic"),
    ("report/nearest.png", "synthetic segments beside the real ones nearest to them, and the difference in HU"),
    ("report/report.html", "the whole comparison, to open in a browser"),
)


@click.command(short_help="Run the whole path on head phantoms.")
@click.option("--out", default="demo", show_default=True, type=click.Path(path_type=Path), help="Folder to work in.")
@click.option(
    "--short", is_flag=True, help="Two heads and a few steps of training: shows that all works, not how well."
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda:0 or mps, for the training.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier demo in the same folder.")
@command
def demo(out: Path, short: bool, device: str, overwrite: bool, progress: Progress) -> None:
    """Make head phantoms, prepare segments, train a small model, generate and evaluate; takes about three minutes."""
    _clear(out, overwrite)
    began = time.monotonic()
    heads, images, count = (2, 600, 64) if short else (4, 6000, 256)
    scans, segments, run, synthetic = (str(out / name) for name in ("scans", "segments", "run", "synthetic"))
    start = ("--preset", "demo", "--init", "phantom-small")
    parts = ("train=0.5", "test=0.5") if short else ("train=0.75", "test=0.25")
    sheet = str(out / "synthetic.png")
    for line in (
        ("phantom", "--subjects", heads, "--pose", 10, "--out", scans),
        ("prepare", scans, "--kind", "phantom", "--out", segments),
        ("dataset", "split", segments, "--part", parts[0], "--part", parts[1]),
        ("train", "--data", segments, *start, "--images", images, "--device", device, "--out", run),
        ("generate", "--model", run, "--count", count, "--seed", 1, "--out", synthetic, "--sheet", sheet),
        ("evaluate", "--real", segments, "--synthetic", synthetic, "--split", "test", "--out", out / "report"),
    ):
        _run(progress, *line)
    click.echo(f"\nDone in {time.monotonic() - began:.0f} s. Look at these pictures in {out}:")
    for pattern, meaning in WHAT_IT_SHOWS:
        found = sorted(out.glob(pattern))
        if found:
            click.echo(f"  {found[-1].relative_to(out)!s:34} {meaning}")
    click.echo("A model needs more than this minute of training, and real scans, before its segments are of use.")


def _clear(out: Path, overwrite: bool) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        if not overwrite or not (out / MARKER).is_file():
            advice = "Choose another folder." if overwrite else "Choose another folder or add --overwrite."
            raise InputError(f"{out} is not an empty folder{' nor a demo' if overwrite else ''}.", advice)
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)
    (out / MARKER).write_text("Made by skullgan demo; may be deleted.\n", encoding="utf-8")


def _run(progress: Progress, *words: object) -> None:
    """Run one command of ``skullgan`` in this process, with this command's progress."""
    arguments = [str(word) for word in words]
    click.echo("\n$ skullgan " + shlex.join(arguments))
    group = skullgan
    with click.Context(group, info_name="skullgan") as context:
        while isinstance(group, click.Group):
            name = arguments.pop(0)
            group = group.get_command(context, name)
        with group.make_context(name, arguments, parent=context) as inner:
            own = {key: value for key, value in inner.params.items() if key not in ("events", "cancel_file", "debug")}
            group.callback.__wrapped__(progress=progress, **own)
    progress.close()
