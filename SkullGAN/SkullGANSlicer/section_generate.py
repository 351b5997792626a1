"""3. Generate: a model in, synthetic segments in the scene and on disk; export for other programs.

What a model of volumes draws is of ``section_volumes``.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ctk
import qt
from slicer.i18n import tr as _

from SkullGANLib.errors import SkullGANError
from SkullGANLib.jobs import Job, JobState

from . import views
from .audit import askAboutCopies, auditWords, trainedOn
from .inputs import KIND_ATTRIBUTE, imageSize, openDataset
from .section import FOLDER, Section
from .widgets import fillChoices, fillTable
from .words import heading, spoken

if TYPE_CHECKING:
    from .panel import Panel

STEPS = 100  # of a slider for a condition
CLASS = "class"  # the condition that has a table of its own, see ``section_classes``
SHOWN = ("index", "sdr", "thickness_mm", "intensity_hu")
SUFFIXES = {"nrrd": ".nrrd", "nii": ".nii.gz", "npy": ".npy", "png": "", "dicom": ""}


class GenerateSection(Section):
    """Model, conditions, count and seed; the segments drawn; their export."""

    def __init__(self, panel: Panel) -> None:
        super().__init__(panel)
        self._volume: Any = None
        self._card: Any = None
        self._cardOf: tuple[str, float, str] = ("", 0.0, "")
        self._conditions: dict[str, Any] = {}
        self._conditionsBox: Any = None
        self._words = ""
        self._trained: list[Path] = []
        self._offeredFor: tuple[Any, ...] = ()
        ui, bindings = self.ui, panel.bindings
        for widget, name in ((ui.modelPathLineEdit, "modelPath"), (ui.syntheticPathLineEdit, "syntheticPath"),
                             (ui.exportPathLineEdit, "exportPath"), (ui.auditPathLineEdit, "auditPath")):  # fmt: skip
            bindings.path(widget, name)
        bindings.choice(ui.modelComboBox, "model")
        ui.modelFileButton.clicked.connect(lambda checked=False: panel.browse("modelPath", _("Choose a model")))
        ui.generateButton.clicked.connect(lambda checked=False: panel.toggle("Generate", self.onGenerate))
        ui.exportButton.clicked.connect(lambda checked=False: panel.toggle("Export", self.onExport))
        ui.segmentsTable.currentCellChanged.connect(lambda row, *_: panel.attempt(lambda: self.onRow(row)))
        self.logic.shown.connect(self.onShown)

    def shipped(self) -> list[Path]:
        """Folders of the models that came with the extension."""
        folder = self.panel.moduleFolder
        places = (folder / "Resources" / "Models", folder.parent / "Resources" / "Models")
        return sorted({card.parent for place in places for card in place.glob("*/model.json")})

    def offer(self, model: Path) -> None:
        """A model was trained: put it first and choose it."""
        self._trained = [model, *(path for path in self._trained if path != model)]
        self.panel.saved().model = str(model)

    def update(self) -> None:
        parameters = self.parameters
        self._fillModels()
        for widget in (self.ui.modelPathLineEdit, self.ui.modelFileButton):
            widget.enabled = parameters.model == FOLDER
        self._readCard()
        self.ui.segmentsWidget.visible = not self.scales and not self.labels
        self._offerAudit()
        why = self.panel.status.whyNoTorch() or self._why()
        self.startButton(self.ui.generateButton, "Generate", _("Generate"), why, _("Draw the segments into the scene."))
        why = "" if self._volume is not None else _("Generate segments first.")
        if not why and not parameters.exportPath:
            why = _("Choose a folder for the export.")
        self.startButton(
            self.ui.exportButton, "Export", _("Export"), why, _("Write the segments of the table for other programs.")
        )

    def cleanup(self) -> None:
        self.logic.shown.disconnect(self.onShown)

    def forget(self) -> None:
        self._volume = None
        self.ui.auditLabel.text = ""
        fillTable(self.ui.segmentsTable, {})

    def onGenerate(self) -> None:
        parameters = self.parameters
        if self.panel.mayReplace(parameters.syntheticPath, "dataset.json"):
            self.logic.generate(
                self.modelPath(),
                count=parameters.count,
                seed=parameters.seed,
                out=parameters.syntheticPath,
                conditions=self.asked(),
                classes=self.panel.classes.asked(),
                **self.panel.classes.truncation(),
                device=parameters.device,
                audit=parameters.auditPath or None,
                copies="keep" if parameters.auditPath else "refuse",
                overwrite=True,
                wait=False,
            )

    def onShown(self, what: str, value: Any) -> None:
        """Segments came into the scene, asked for here or in the console."""
        if what == "segments" and value[0].GetAttribute(KIND_ATTRIBUTE) not in ("real", "phantom"):
            self._volume = value[0]
            dataset = openDataset(self._volume)
            table, self.ui.auditLabel.text = dataset.table, auditWords(dataset)
            names = [*SHOWN, "copy", *(name for name in table if name.startswith("asked_"))]
            fillTable(self.ui.segmentsTable, {heading(name): table[name] for name in names if name in table})
            views.showVolume(self._volume)
            views.jumpToSlice(self._volume, 0)
            self.panel.update()

    def onRow(self, row: int) -> None:
        """A row was chosen: show that segment."""
        if self._volume is not None and row >= 0:
            views.showVolume(self._volume, fit=False)
            views.jumpToSlice(self._volume, row)

    def onExport(self) -> None:
        from SkullGANLib.segments.table import marked_copies

        parameters = self.parameters
        folder = Path(parameters.exportPath)
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{parameters.exportFormat}-segments{SUFFIXES[parameters.exportFormat]}"
        copies = askAboutCopies(marked_copies(openDataset(self._volume).table))
        if copies and self.panel.mayReplace(str(folder), name):
            self.logic.export(
                self._volume, folder / name, format=parameters.exportFormat, copies=copies, overwrite=True, wait=False
            )

    def jobFinished(self, job: Job) -> None:
        if job.title == "Generate":
            self.ui.modelLabel.text = " ".join([self._words, *self.notes(job)])
            if job.state is JobState.DONE:
                self.panel.saved().evaluatedPath = job.result["out"]
        elif job.title == "Export" and job.state is JobState.DONE:
            self.ui.jobLabel.text = _("Exported to {path}").format(path=job.value)

    def _fillModels(self) -> None:
        parameters = self.parameters
        beside = [*modelsBeside(parameters.runPath), *modelsBeside(parameters.volumeRunPath)]
        trained = dict.fromkeys([*self._trained, *beside])
        choices = [(_("{name}, comes with the extension").format(name=path.name), str(path)) for path in self.shipped()]
        choices += [(_("{name}, trained here").format(name=path.parent.name), str(path)) for path in trained]
        choices.append((_("a folder or file"), FOLDER))
        if not parameters.model:
            parameters.model = choices[0][1]
        fillChoices(self.ui.modelComboBox, choices, parameters.model)

    def modelPath(self) -> str:
        """Folder or file of the model that is chosen."""
        return self.parameters.modelPath if self.parameters.model == FOLDER else self.parameters.model

    @property
    def card(self) -> Any:
        """What the model that is chosen says of itself, None where there is none."""
        return self._card

    @property
    def scales(self) -> list[list[int]]:
        """(slices, rows, columns) at each scale of a model that draws volumes; empty for one of segments."""
        return self._card.network["shapes"] if self._card is not None and isVolumeModel(self._card) else []

    @property
    def labels(self) -> list[str]:
        """Labels of a model that draws from label maps; empty for other models."""
        return self._card.network.get("labels", []) if self._card is not None else []

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes of the model that is chosen; empty for one without."""
        condition = self._card.conditions.get(CLASS) if self._card is not None else None
        return tuple(condition.values) if condition is not None and condition.kind == "category" else ()

    @property
    def words(self) -> str:
        """What is told of the model that is chosen."""
        return self._words

    def _readCard(self) -> None:
        """Show what the model is and what it can be asked for; only when another one was chosen."""
        if self.panel.status.missing:  # a card cannot be read without them
            return
        path = Path(self.modelPath() or "?")
        cards = (os.path.join(path, "model.json"), os.path.join(path, "model", "model.json"))
        card = next(filter(os.path.isfile, cards), None)
        version = (str(path), os.path.getmtime(card) if card is not None else 0.0, self.parameters.conditions)
        if version == self._cardOf:
            return
        self._cardOf, self._card = version, None
        words = _("Released weights; their window is asked for where it is not known.") if path.suffix == ".pth" else ""
        if card is not None:
            from SkullGANLib.models.card import load_card

            try:
                self._card = load_card(path)
                words = cardText(self._card)
            except SkullGANError as error:
                words = str(error)
        self.ui.modelLabel.text = self._words = words
        conditions = self._card.conditions if self._card is not None else {}
        self._buildConditions({name: each for name, each in conditions.items() if name != CLASS or not self.classes})

    def _offerAudit(self) -> None:
        """Check against a data set that the panel knows, where the model was trained on it; the user may empty it."""
        parameters = self.parameters
        paths = tuple(dict.fromkeys(filter(None, (parameters.trainDataPath, parameters.datasetPath))))
        if self._card is None or self._offeredFor == (self._cardOf[:2], paths):
            return
        before, self._offeredFor = self._offeredFor, (self._cardOf[:2], paths)
        offered = next((path for path in paths if trainedOn(self._card, path)), "")
        if not parameters.auditPath or (before and parameters.auditPath in before[1]):
            parameters.auditPath = self.ui.auditPathLineEdit.currentPath = offered

    def _buildConditions(self, conditions: dict[str, Any]) -> None:
        """One widget for each thing the model can be asked for."""
        if self._conditionsBox is not None:
            self._conditionsBox.visible = False  # until it is deleted
            self._conditionsBox.deleteLater()
        self._conditionsBox = qt.QWidget()
        layout = qt.QFormLayout(self._conditionsBox)
        self.ui.conditionsWidget.layout().addWidget(self._conditionsBox)
        self._conditions = {}
        saved = savedConditions(self.parameters.conditions, conditions)
        for name, condition in conditions.items():
            unit = ""
            if condition.kind == "category":
                widget = qt.QComboBox()
                for text, data in [(_("any"), ""), *((value, value) for value in condition.values)]:
                    widget.addItem(text, data)
                widget.currentIndex = max(widget.findData(saved.get(name, "")), 0)
                widget.connect("currentIndexChanged(int)", lambda index: self._storeConditions())
            else:
                unit = condition.unit
                widget = ctk.ctkRangeWidget()
                step = (condition.maximum - condition.minimum) / STEPS or 1.0
                widget.decimals = max(0, math.ceil(-math.log10(step)))
                widget.singleStep = step
                widget.setRange(condition.minimum, condition.maximum)
                widget.setValues(*saved.get(name, (condition.minimum, condition.maximum)))
                widget.valuesChanged.connect(lambda low, high: self._storeConditions())
            layout.addRow(f"{spoken(name, unit)}:", widget)
            self._conditions[name] = widget
        self.ui.conditionsWidget.visible = bool(conditions)

    def _storeConditions(self) -> None:
        if self.parameters is not None:
            text = json.dumps(self.asked())
            self._cardOf = (*self._cardOf[:2], text)  # the widgets show it already
            self.parameters.conditions = text

    def asked(self) -> dict[str, Any]:
        """Conditions other than "any" and the whole range."""
        asked: dict[str, Any] = {}
        for name, widget in self._conditions.items():
            condition = self._card.conditions[name]
            if condition.kind == "category":
                if widget.itemData(widget.currentIndex):
                    asked[name] = widget.itemData(widget.currentIndex)
                continue
            low, high, slack = widget.minimumValue, widget.maximumValue, widget.singleStep / 2
            if low > condition.minimum + slack or high < condition.maximum - slack:
                asked[name] = [max(low, condition.minimum), min(high, condition.maximum)]
        return asked

    def whyNoModel(self) -> str:
        """What is wrong with the model that is chosen, for drawing segments; empty where nothing is."""
        path = self.modelPath()
        if not path:
            return _("Choose a model: train one, or give a folder.")
        if self.scales:
            return _("The model that is chosen draws volumes.")
        if self.labels:
            return _("The model that is chosen draws from label maps.")
        if self._card is None and Path(path).suffix not in (".pth", ".pt"):
            return self.ui.modelLabel.text or _("There is no model in the folder that was chosen.")
        return ""

    def _why(self) -> str:
        parameters = self.parameters
        if wrong := self.whyNoModel():
            return wrong
        if parameters.auditPath and not os.path.isfile(os.path.join(parameters.auditPath, "dataset.json")):
            return _("The folder to check against holds no data set.")
        return "" if parameters.syntheticPath else _("Choose a folder for the synthetic data set.")


def savedConditions(text: str, conditions: dict[str, Any]) -> dict[str, Any]:
    """What was asked for before, as far as it can be asked of a model with these conditions."""
    try:
        saved = json.loads(text)
    except ValueError:
        return {}
    kept = {}
    for name, condition in conditions.items():
        asked = saved.get(name) if isinstance(saved, dict) else None
        if condition.kind == "category":
            if asked in condition.values:
                kept[name] = asked
        elif isinstance(asked, list) and len(asked) == 2 and all(isinstance(x, (int, float)) for x in asked):
            low, high = (min(max(x, condition.minimum), condition.maximum) for x in sorted(asked))
            kept[name] = (low, high)
    return kept


def modelsBeside(runPath: str) -> list[Path]:
    """Folders of the models of a run and of the runs beside it."""
    try:
        runs = sorted(Path(runPath).parent.iterdir()) if runPath else []
    except OSError:
        return []
    return [run / "model" for run in runs if os.path.isfile(os.path.join(run, "model", "model.json"))]


def isVolumeModel(card: Any) -> bool:
    """Whether a model draws whole volumes."""
    return "volume" in card.training and "shapes" in card.network


def cardText(card: Any) -> str:
    """What a user should know of a model, from its card."""
    if isVolumeModel(card):
        shapes = card.network["shapes"]
        words = _("Draws volumes of {sizes} voxels of about {mm:.2g} mm, in {n} scales.")
        sizes = " x ".join(map(str, shapes[-1]))
        return " ".join([words.format(sizes=sizes, mm=card.spacing_mm, n=len(shapes)), card.limits])
    size = imageSize(card)
    words = [_("{size} x {size} pixels of {mm:g} mm, {seen:,} images seen.").format(
        size=size, mm=card.spacing_mm, seen=card.images_seen)]  # fmt: skip
    if labels := card.network.get("labels"):
        words.append(_("Draws from label maps of {labels}.").format(labels=", ".join(labels)))
    subjects = card.training.get("subjects")
    if subjects:
        words.append(_("Subjects it has learnt from: {n}.").format(n=subjects))
    return " ".join([*words, card.limits])
