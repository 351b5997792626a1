"""``skullgan walk``: a video of what lies between the images that a model draws."""

from __future__ import annotations

from pathlib import Path

import click

from SkullGANLib.cli import common
from SkullGANLib.progress import Progress


@click.command(short_help="Show a smooth walk through what a model draws as a video.")
@click.option(
    "--model",
    "folder",
    required=True,
    type=click.Path(path_type=Path),
    help="Model folder, training run, or the name of a model that comes along (phantom).",
)
@click.option(
    "--class",
    "classes",
    multiple=True,
    metavar="NAME",
    help="Class to pass; several in their order, one to stay in it, all for every one.",
)
@click.option("--frames", default=120, show_default=True, type=click.IntRange(2), help="Images of the video.")
@click.option("--per-second", default=20.0, show_default=True, type=common.FloatRange(0.5, 60), help="Frames.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**63 - 1), help="Of the walk.")
@click.option("--window-hu", nargs=2, type=float, help="HU shown black and white.  [default: the model's window]")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1 or mps.")
@click.option(
    "--out", default="walk.mp4", show_default=True, type=click.Path(path_type=Path), help=".mp4, or an animated .png."
)
@click.option(
    "--hu",
    "hu_file",
    type=click.Path(path_type=Path),
    help="Also write the HU of the frames: float32 (n, H, W), .npy.",
)
@click.option("--overwrite", is_flag=True, help="Replace what is there already.")
@common.command
def walk(
    folder: Path,
    classes: tuple[str, ...],
    frames: int,
    per_second: float,
    seed: int,
    window_hu: tuple[float, float] | None,
    device: str,
    out: Path,
    hu_file: Path | None,
    overwrite: bool,
    progress: Progress,
) -> None:
    """Draw images along a smooth walk, from one class to the next where a model has classes.

    It shows whether a model knows what lies between its images, or jumps from one learnt image to another.
    """
    import numpy as np

    from SkullGANLib.files import replace_file
    from SkullGANLib.generate.classes import draw_between
    from SkullGANLib.generate.video import check_array, check_video, write_video
    from SkullGANLib.models.folder import load_model, shipped_model

    check_video(out, overwrite=overwrite)
    if hu_file is not None:
        check_array(hu_file, overwrite=overwrite)
    model = load_model(shipped_model(folder))
    hu = draw_between(model, classes, frames, seed=seed, device=device, progress=progress)
    shown = window_hu or (model.window.minimum_hu, model.window.maximum_hu)
    path = write_video(out, hu, window_hu=shown, per_second=per_second)
    if hu_file is not None:
        with replace_file(hu_file) as temporary, temporary.open("wb") as stream:
            np.save(stream, hu)
    progress.result(out=str(path), frames=frames, seed=seed, spacing_mm=model.card.spacing_mm)
    progress.close()
    click.echo(f"{frames} frames, {frames / per_second:.1f} seconds: {path}")
