"""``skullgan turing``: can readers tell synthetic from real segments by eye?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from SkullGANLib.cli import common
from SkullGANLib.errors import InputError
from SkullGANLib.progress import Progress

if TYPE_CHECKING:
    from SkullGANLib.evaluate.turing import VisualTest

path = click.Path(path_type=Path)
key_option = click.option("--key", type=path, help="File of the key.  [default: OUT-key.json beside the folder]")


class _MakesByDefault(click.Group):
    """``skullgan turing --real ...`` is short for ``skullgan turing make --real ...``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0].startswith("-") and args[0] not in ctx.help_option_names:
            args = ["make", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_MakesByDefault, short_help="Let readers tell real from synthetic segments by eye.")
def turing() -> None:
    """Let readers tell real from synthetic segments by eye: make a test, add their answers, show the result.

    Options without a command are those of make.
    """


@turing.command()
@click.option("--real", type=path, help="Data set or .npy of real segments.")
@click.option("--synthetic", type=path, help="Data set or .npy of synthetic ones.")
@click.option("--out", required=True, type=path, help="Folder of the test, to be given to the readers.")
@click.option("--count", default=100, show_default=True, help="Images, half of them from each set.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Of the draw of the images.")
@click.option(
    "--split",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", "all", "train", "test"]),
    help="Part of the real set to draw from; auto: test where it is split.",
)
@click.option("--spacing", "spacing_mm", type=float, help="Pixel size in mm of a .npy array.  [default: 0.45]")
@key_option
@click.option("--reader", help="Pseudonym of a reader: then open the page for that reader.")
@common.command
def make(
    real: Path | None,
    synthetic: Path | None,
    out: Path,
    count: int,
    seed: int,
    split: str,
    spacing_mm: float | None,
    key: Path | None,
    reader: str | None,
    progress: Progress,
) -> None:
    """Draw images and write a test for readers.

    The folder OUT holds a page that opens offline in any browser, and no word of what an image is. The key, with which
    answers are marked, is written beside the folder: keep it from the readers. With --reader the page of a test that
    is there already, or has just been made, is opened.
    """
    from SkullGANLib.evaluate import turing as library

    if (out / library.TEST_FILE).is_file() and reader is not None:
        test = library.VisualTest.open(out)
    else:
        if real is None or synthetic is None:
            raise InputError("A test needs both sets.", "Give --real and --synthetic.")
        test, notes = library.make_test(
            common.open_segments(real),
            common.open_segments(synthetic),
            out,
            count=count,
            seed=seed,
            split=split,
            spacing_mm=spacing_mm,
            key=key,
            progress=progress,
        )
        key = library.key_path(out) if key is None else key
        progress.result(test=str(out), key=str(key), notes=notes)
        progress.close()
        click.echo(f"Test {test.id}: {test.counts[0]} real and {test.counts[1]} synthetic images in {out}.")
        for note in notes:
            click.echo(f"Note: {note}")
        click.echo(f"Readers open {out / library.PAGE_FILE}, alone or with the whole folder. Keep {key} from them.")
        click.echo(f"When they send their answers: skullgan turing add {out} answers-NAME.csv")
    if reader is not None:
        _open_page(test, reader)


def _open_page(test: VisualTest, reader: str) -> None:
    import webbrowser

    from SkullGANLib.evaluate.turing import PAGE_FILE
    from SkullGANLib.evaluate.turing_answers import Session

    session = Session(test, reader)
    if session.image is None:
        click.echo(f"{session.reader} has answered all {len(test)} images already.")
        return
    page = (test.path / PAGE_FILE).resolve().as_uri()
    click.echo(f"If no browser opens, open this page: {page}#reader={session.reader}")
    click.echo(f"The pseudonym is {session.reader}; the browser keeps the answers until they are saved.")
    webbrowser.open(page)  # without the name, which some systems take for a part of the file's


@turing.command()
@click.argument("test", type=path)
@click.argument("answers", type=path, nargs=-1, required=True)
@common.command
def add(test: Path, answers: tuple[Path, ...], progress: Progress) -> None:
    """Add the answers of readers to a test.

    ANSWERS are files as the page has saved them, TEST is the folder.
    """
    from SkullGANLib.evaluate.turing import VisualTest
    from SkullGANLib.evaluate.turing_answers import add_answers

    opened = VisualTest.open(test)
    for each in answers:
        session, new = add_answers(opened, each)
        click.echo(f"{session.reader}: {new} new answers, {session.done} of {len(opened)} images in all.")


@turing.command()
@click.argument("test", type=path)
@key_option
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Of the bootstrap.")
@common.command
def result(test: Path, key: Path | None, seed: int, progress: Progress) -> None:
    """Mark the answers of a test.

    Writes result.json, result.csv and result.png into the folder TEST.
    """
    from SkullGANLib.evaluate.turing import VisualTest, read_key
    from SkullGANLib.evaluate.turing_result import find_result, result_words, write_result

    opened = VisualTest.open(test)
    found = find_result(opened, read_key(opened, key), seed=seed)
    write_result(opened, found)
    progress.result(test=str(test), words=result_words(found), warnings=found.warnings)
    for line in result_words(found):
        click.echo(line)
    for warning in found.warnings:
        click.echo(f"Note: {warning}")
    if found.pooled is not None:
        click.echo("In brackets: 95 % intervals.")
