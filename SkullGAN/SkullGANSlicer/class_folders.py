"""Classes for Slicer's Python console and for the panel: folders of images in, a data set with the column class out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SkullGANLib.errors import InputError
from SkullGANLib.jobs import Job

from . import inputs
from .running import Finished, JobRunner

if TYPE_CHECKING:
    from SkullGANLib.segments.dataset import SegmentDataset

IMPORT, CLASSES = "Import of classes", "Classes"  # titles of the jobs


class ClassFolders(JobRunner):
    """The part of the logic that makes data sets with classes."""

    def importClasses(
        self,
        folder: str | Path,
        out: str | Path,
        *,
        size: int = 128,
        spacing_mm: float | None = None,
        subjects: str | Path | None = None,
        subject_pattern: str | None = None,
        window_hu: Sequence[float] | None = None,
        duplicates: str = "refuse",
        overwrite: bool = False,
        options: Mapping[str, Any] | None = None,
        wait: bool = True,
        finished: Finished | None = None,
    ) -> SegmentDataset | Job:
        """Make a data set of images that lie in a folder for each class, as ``CT/skull/temporal/1.png``.

        Args:
            folder: of the classes; PNG, JPEG, TIFF, BMP, WebP or DICOM.
            out: folder of the data set.
            size: rows and columns, 32 to 512.
            spacing_mm: of the pixels in the data set; what DICOM says, else 0.45, if not given.
            subjects: CSV with the columns file (path below ``folder``) and subject, and perhaps split.
            subject_pattern: regular expression that finds in the path of a file what tells persons apart, in place of
                ``subjects``; without both the patient of a DICOM file does, and any other file is a person of its own.
            window_hu: HU that black and white of 8-bit images stand for; they stay grey levels if not given.
            duplicates: what to do about images of the same pixels in two classes: ``refuse`` or ``drop``.
            options: further options of ``skullgan dataset import-classes``, such as ``{"levels": 2}``.
            overwrite, wait, finished: see ``prepare``.

        Returns:
            The data set, with the column ``class``. Images of each class are in the result of the job, ``classes``,
            and what should be known of them in its ``notes``.
        """
        from SkullGANLib.segments.dataset import SegmentDataset

        out = Path(out).expanduser()
        arguments = ["dataset", "import-classes", Path(folder).expanduser(), out, "--size", str(size)]
        if window_hu is not None:
            arguments += ["--window-hu", *(str(value) for value in window_hu)]
        arguments += inputs.flags(
            {
                **(options or {}),
                "spacing": spacing_mm,
                "subjects": subjects,
                "subject_pattern": subject_pattern,
                "duplicates": None if duplicates == "refuse" else duplicates,
                "overwrite": overwrite,
            }
        )
        return self._run(IMPORT, arguments, lambda result: SegmentDataset.open(out), wait, finished)

    def makeClasses(
        self,
        data: Any,
        by: Sequence[str] = ("region", "side"),
        *,
        table: str | Path | None = None,
        names: Mapping[str, str] | None = None,
        overwrite: bool = False,
        wait: bool = True,
        finished: Finished | None = None,
    ) -> dict[str, int] | Job:
        """Write the column class of a data set: made of other columns, read from a table, or renamed.

        Args:
            data: data set or its folder, changed in place.
            by: columns of words that make a class: region and side give ``temporal/left``; none to rename alone.
            table: CSV with the columns index and class and a row for each segment, in place of ``by``.
            names: class to another name for it.
            overwrite: whether classes that are there may be replaced.
            wait, finished: see ``prepare``.

        Returns:
            Class to number of segments; those without one are called ``-``.

        Raises:
            InputError: a node or an array that is no data set on disk.
        """
        folder = inputs.datasetFolder(data, self.temporary)
        if not (folder / "dataset.json").is_file():
            raise InputError(f"{folder} is no data set.", "Give the folder of one.")
        arguments: list[Any] = ["dataset", "classes", folder]
        if table is not None:
            arguments += ["--from", Path(table).expanduser()]
        elif by:
            arguments += ["--by", by if isinstance(by, str) else ",".join(by)]
        arguments += [part for old, new in (names or {}).items() for part in ("--rename", f"{old}={new}")]
        arguments += inputs.flags({"overwrite": overwrite})
        return self._run(CLASSES, arguments, lambda result: result["classes"], wait, finished)
