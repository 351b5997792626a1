"""Classes: the group of section 1 that makes a data set of images in folders, and classes of the columns of one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import slicer
from slicer.i18n import tr as _

from SkullGANLib.jobs import Job, JobState

from .class_folders import CLASSES, IMPORT
from .section import Section
from .widgets import fillTable

if TYPE_CHECKING:
    from .panel import Panel


class FoldersSection(Section):
    """What is imported, how, and which classes came of it."""

    def __init__(self, panel: Panel) -> None:
        super().__init__(panel)
        ui, bindings = self.ui, panel.bindings
        bindings.path(ui.classFoldersPathLineEdit, "classFoldersPath")
        bindings.path(ui.subjectsPathLineEdit, "subjectsPath")
        bindings.path(ui.classSetPathLineEdit, "classSetPath")
        bindings.path(ui.classedPathLineEdit, "classedPath")
        ui.importClassesButton.clicked.connect(lambda checked=False: panel.toggle(IMPORT, self.onImport))
        ui.makeClassesButton.clicked.connect(lambda checked=False: panel.toggle(CLASSES, self.onMake))
        self.forget()

    def update(self) -> None:
        parameters, ui = self.parameters, self.ui
        for widget in (ui.blackSpinBox, ui.whiteSpinBox):
            widget.enabled = parameters.classWindow
        tip = _("Make the data set.")
        self.startButton(ui.importClassesButton, IMPORT, _("Import"), self._whyNoImport(), tip)
        tip = _("Write the classes into the data set.")
        self.startButton(ui.makeClassesButton, CLASSES, _("Make classes"), self._whyNoClasses(), tip)

    def forget(self) -> None:
        self._tell({}, "")

    def onImport(self) -> None:
        parameters = self.parameters
        if self.panel.mayReplace(parameters.classSetPath, "dataset.json"):
            self.logic.importClasses(
                parameters.classFoldersPath,
                parameters.classSetPath,
                size=parameters.classSize,
                spacing_mm=round(parameters.classSpacingMm, 3) or None,
                subjects=parameters.subjectsPath or None,
                subject_pattern=parameters.subjectPattern.strip() or None,
                window_hu=(parameters.blackHu, parameters.whiteHu) if parameters.classWindow else None,
                duplicates="drop" if parameters.dropDuplicates else "refuse",
                overwrite=True,
                wait=False,
            )

    def onMake(self) -> None:
        parameters = self.parameters
        if self._mayReplaceClasses(parameters.classedPath):
            self.logic.makeClasses(parameters.classedPath, self._columns(), overwrite=True, wait=False)

    def jobStarted(self, job: Job) -> None:
        if job.title in (IMPORT, CLASSES):
            self._tell({}, "")

    def jobFinished(self, job: Job) -> None:
        """Tell the classes, and offer the data set to the sections below."""
        if job.title not in (IMPORT, CLASSES) or job.state is not JobState.DONE:
            return
        counts, parameters = job.result["classes"], self.panel.saved()
        words = _("{n} images of {k} classes in {folder}.")
        said = words.format(n=sum(counts.values()), k=len({*counts} - {"-"}), folder=job.result["dataset"])
        self._tell(counts, " ".join([said, *self.notes(job)]))
        parameters.trainDataPath = parameters.realPath = job.result["dataset"]
        if job.title == IMPORT:
            parameters.classedPath = job.result["dataset"]

    def _tell(self, counts: dict[str, int], words: str) -> None:
        names = [_("without a class") if name == "-" else name for name in counts]
        fillTable(self.ui.classCountsTable, {_("class"): names, _("images"): list(counts.values())} if counts else {})
        self.ui.classCountsTable.visible = bool(counts)
        self.ui.foldersLabel.text = words

    def _columns(self) -> list[str]:
        return [name.strip() for name in self.parameters.classColumns.split(",") if name.strip()]

    def _mayReplaceClasses(self, folder: str) -> bool:
        """Whether classes may be written: true unless there are some that the user wants to keep."""
        from SkullGANLib.segments.dataset import SegmentDataset

        classes = SegmentDataset.open(folder).table.get("class", ())
        if not any(classes):
            return True
        text = _("{folder} has classes. Replace them?").format(folder=folder)
        return slicer.util.confirmYesNoDisplay(text, windowTitle="SkullGAN")

    def _whyNoImport(self) -> str:
        parameters = self.parameters
        if not os.path.isdir(parameters.classFoldersPath):
            return _("Choose the folder with a folder of images for each class.")
        if parameters.subjectsPath and parameters.subjectPattern.strip():
            return _("Subjects come from a table or from file names, not from both.")
        if parameters.classWindow and parameters.blackHu >= parameters.whiteHu:
            return _("White stands for more HU than black.")
        return "" if parameters.classSetPath else _("Choose a folder for the data set.")

    def _whyNoClasses(self) -> str:
        if not os.path.isfile(os.path.join(self.parameters.classedPath, "dataset.json")):
            return _("Choose the data set that is to get classes.")
        return "" if self._columns() else _("Name the columns that make a class.")
