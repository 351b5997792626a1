"""The module's panel: how it opens and what it says of the machine; and the desk that its other tests use."""

from __future__ import annotations

import html
import json
import logging
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import slicer_host
from SkullGANLib import needed
from SkullGANLib.jobs import Job

SECONDS = 60  # for anything to come true; nearly all does within 0.2 s
CHILD = """
import json, os, shutil, sys, time

folder, arguments = sys.argv[1], sys.argv[2:]
cancel = arguments[arguments.index("--cancel-file") + 1]

def say(**event):
    print("@SKULLGAN " + json.dumps(event), flush=True)

def option(name):
    return arguments[arguments.index(name) + 1]

def hand(source, **facts):  # what the commands do at their end
    shutil.copytree(source, option("--out"), dirs_exist_ok=True)
    kind = {"prepare": "dataset", "generate": "out", "evaluate": "report", "train": "run"}[arguments[0]]
    say(result={kind: option("--out"), **facts})

def wait(name, deaf=False):
    end = time.monotonic() + 60
    while not os.path.exists(os.path.join(folder, name)) and time.monotonic() < end:
        if os.path.exists(cancel) and not deaf:
            say(exit_code=2, canceled=True)
            sys.exit(2)
        time.sleep(0.01)

with open(os.path.join(folder, "calls"), "a") as file:
    file.write(json.dumps(arguments) + "\\n")
exec(open(os.path.join(folder, arguments[0] + ".py"), encoding="utf-8").read())
"""
FOUND = {
    "cores": 8,
    "torch": "2.9.0+cu128",
    "memory_gib": {"free": 20.4, "total": 31.6},
    "devices": [
        {"name": "cpu", "title": "x86_64", "free_gib": 20.4, "total_gib": 31.6},
        {"name": "cuda:0", "title": "NVIDIA RTX 4090", "free_gib": 21.7, "total_gib": 23.6},
    ],
    "families": [
        {"name": "relativistic", "title": "Recommended", "conditions": []},
        {"name": "other", "title": "Another one", "conditions": ["region"]},
    ],
    "presets": [
        {"name": "recommended-XS", "title": "for one GPU", "family": "relativistic"},
        {"name": "paper", "title": "", "family": "relativistic"},
        {"name": "deep", "title": "with conditions", "family": "other"},
    ],
    "problems": [],
}
PLACE = {"region": "temporal", "side": "left", "plane": "axial", "sdr": 0.5, "corner_x": 10.0, "corner_y": 20.0}
PLACE |= {"right_x": 0.0, "right_y": 1.0, "right_z": 0.0, "down_x": 1.0, "down_y": 0.0, "down_z": 0.0}
FITS = {"memory_gib": 2.04, "free_gib": 21.7, "fits": True, "images": 6000, "images_per_second": 50.0, "seconds": 120.0}
FITS |= {"device": "cuda:0", "advice": ""}
STARTS = ("previewButton", "prepareButton", "trainButton", "estimateButton", "generateButton", "evaluateButton")
ANSWERED = f"say(result={FOUND!r})"


class Desk:
    """The panel with everything around it, and child processes that do what a test has written down for each command.

    Attributes:
        folder: of this test.
        errors: (text, details) of each error that was shown.
        started: command of each child, in order.
        real: commands that the library itself shall run.
    """

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        import slicer

        self.folder, self.patch, self.real = folder, monkeypatch, set()
        self.errors: list[tuple[str, str]] = []
        self.started: list[str] = []
        self._scripts = folder / "child"
        self._scripts.mkdir()
        (self._scripts / "child.py").write_text(CHILD, encoding="utf-8")
        self.script("doctor", ANSWERED)
        self.script("train", 'wait("go")')
        start, display = Job._start, slicer.util.errorDisplay

        def startFake(job, line, environment):
            self.started.append(line[3])
            real = line[3] in self.real
            fake = [sys.executable, "-I", "-S", self._scripts / "child.py", self._scripts, *line[3:]]
            return start(job, line if real else [str(part) for part in fake], environment)

        def errorDisplay(text, *args, **options):
            self.errors.append((text, options.get("detailedText", "")))
            return display(text, *args, **options)

        def raised(*words):  # in a hook of a job, which must call the others too
            slicer_host.slotErrors.append(sys.exc_info()[1])

        from SkullGANSlicer import panel, running, section_generate

        monkeypatch.setenv("HOME", str(folder))
        monkeypatch.setenv("USERPROFILE", str(folder))
        monkeypatch.setattr(panel, "home", lambda: str(folder / "home"))
        monkeypatch.setattr(running, "POLL_MS", 10)
        monkeypatch.setattr(Job, "_start", startFake)
        monkeypatch.setattr(slicer.util, "errorDisplay", errorDisplay)
        monkeypatch.setattr(sys, "excepthook", lambda kind, error, trace: slicer_host.slotErrors.append(error))
        monkeypatch.setattr(logging.getLogger("SkullGANLib.jobs"), "exception", raised)
        self.shipped = section_generate.GenerateSection.shipped  # which has a test of its own
        monkeypatch.setattr(section_generate.GenerateSection, "shipped", lambda section: [])
        monkeypatch.setattr(needed, "missing", lambda **_: [])
        monkeypatch.setattr(needed, "torch_version", lambda: "2.9.0")
        running._current[0] = None
        running._started.clear()
        running._shown.clear()

    # the child processes

    def script(self, command: str, code: str, *, estimate: dict | None = FITS) -> None:
        """What the child of a command does: Python with say(**event), option(name), wait(name), hand(folder, **facts).

        An estimate of a training is answered with ``estimate`` before that, unless it is None.
        """
        timed = f'if "--dry-run" in arguments: say(result={estimate!r}); sys.exit()\n' if estimate is not None else ""
        (self._scripts / f"{command}.py").write_text(timed + code, encoding="utf-8")

    def release(self, name: str) -> None:
        """Let a child go on that waits for this name."""
        (self._scripts / name).touch()

    def calls(self, command: str) -> list[list[str]]:
        """Arguments of every child of this command, without those that every child gets."""
        path = self._scripts / "calls"
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        found = [json.loads(line) for line in lines]
        return [line[: line.index("--events")] for line in found if line[0] == command]

    # the panel

    def open(self, *, answered: bool = True):
        """Open the module; gives the widget."""
        self.widget = slicer_host.open_panel()
        self.take(self.widget)
        if answered:
            self.until(lambda: self.panel.status.found or "doctor" in self.real)
        return self.widget

    def take(self, widget) -> None:
        """Work with this widget from now on."""
        self.widget, self.panel, self.ui, self.logic = widget, widget.panel, widget.ui, widget.logic

    @property
    def parameters(self):
        return self.panel.parameters

    def until(self, condition, seconds: float = SECONDS) -> None:
        """Let events run until something has come true."""
        import slicer

        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"It never came true. {slicer_host.slotErrors} {self.errors}"
            slicer.app.processEvents()
            time.sleep(0.002)

    def idle(self) -> None:
        """Let events run until no job does, and its end was told."""
        self.until(lambda: not self.logic.busy)

    def press(self, button):
        """Press a start button and wait for the end of its job; gives the job."""
        assert button.enabled, tip(button)
        before = self.logic.job
        button.click()
        assert self.logic.job is not before, (self.errors, slicer_host.slotErrors)
        self.idle()
        return self.logic.job

    def waiting(self, button, command: str, code: str = "") -> None:
        """Press a start button whose child says a first word and then waits for "go"."""
        self.script(command, f'say(value=1, maximum=4, message="At work")\nwait("go")\n{code}')
        button.click()
        self.until(lambda: self.ui.jobLabel.text.startswith("At work"))

    # what it works on

    def head(self, name: str = "head", *, size: int = 8):
        """A small volume of the scene."""
        import slicer

        return slicer.util.addVolumeFromArray(np.zeros((size, size, size), np.int16), name=name)

    def dataset(self, name: str, kind: str = "real", n: int = 3, **columns):
        """A data set of segments in known places: the k-th has its corner at (10, 20, 30 + k) in LPS."""
        from SkullGANLib.segments.dataset import SegmentDataset

        hu = np.zeros((n, 128, 128), np.int16)
        hu[:, 20:30] = 1000 + np.arange(n)[:, None, None]
        table = {name: np.full(n, value) for name, value in PLACE.items()} | {"corner_z": 30.0 + np.arange(n)}
        table = {} if kind == "synthetic" else table
        return SegmentDataset.create(self.folder / name, hu, {**table, **columns}, kind=kind)

    def model(self, name: str = "run/model", **facts) -> Path:
        """A model folder of which only the card can be read."""
        from SkullGANLib.models.card import ModelCard
        from SkullGANLib.models.window import IntensityWindow

        folder = self.folder / name
        folder.mkdir(parents=True)
        given = {"family": "skullgan", "network": {"size": 128}, "images_seen": 6000} | facts
        card = ModelCard(window=IntensityWindow(minimum_hu=0, range_hu=2000), **given)
        (folder / "model.json").write_text(card.model_dump_json(), encoding="utf-8")
        return folder

    def ready(self):
        """Open the module with all that it takes to press each of its buttons; gives its widgets."""
        self.head()
        real, synthetic, model = self.dataset("real"), self.dataset("drawn", "synthetic"), self.model()
        self.open()
        values = {"trainDataPath": real.path, "realPath": real.path, "evaluatedPath": synthetic.path}
        values |= {"model": "folder", "modelPath": model, "runPath": self.folder / "new run"}
        for name, value in values.items():
            setattr(self.parameters, name, str(value))
        self.logic.show(synthetic)
        self.panel.update()
        return self.ui


def makeDesk(tmp_path, monkeypatch):
    """A desk for one test; an error in a slot, a hook or an observer of the scene fails the test."""
    slicer_host.start(gui=True)
    slicer_host.load_module()
    slicer_host.reset()
    desk = Desk(tmp_path, monkeypatch)
    yield desk
    from SkullGANSlicer import running

    if running._current[0] is not None:
        running._current[0].kill()
    errors = list(slicer_host.slotErrors)
    slicer_host.reset()
    for error in errors:
        raise error


desk = pytest.fixture(makeDesk)


def tip(widget) -> str:
    """The words of a tooltip, which Slicer makes rich text of."""
    return html.unescape(re.sub(r"<[^>]+>", "", widget.toolTip))


def cells(table) -> list[list[str]]:
    """The texts of a QTableWidget, its headings first."""
    columns = range(table.columnCount)
    rows = [[table.item(i, j).text() for j in columns] for i in range(table.rowCount)]
    return [[table.horizontalHeaderItem(j).text() for j in columns], *rows]


def boxItems(box) -> list[tuple[str, str]]:
    """Texts and data of a QComboBox."""
    return [(box.itemText(i), box.itemData(i)) for i in range(box.count)]


# opening --------------------------------------------------------------------------------------------------------------

OPENING = """
import json, subprocess, sys, time
sys.path.insert(0, {testing!r})
import slicer_host
slicer_host.start(gui=True)
slicer_host.load_module()
before, started, real = set(sys.modules), [], subprocess.Popen
def popen(line, **options):  # a doctor that takes long
    started.append(line[1:4])
    return real([sys.executable, "-I", "-S", "-c", "import time; time.sleep(60)"], **options)
subprocess.Popen = popen
start = time.perf_counter()
widget = slicer_host.open_panel()
took = time.perf_counter() - start
import slicer
slicer.app.processEvents()
slicer_host.checkSlots()
words, new = widget.ui.statusLabel.text, set(sys.modules) - before
heavy = [name for name in ("torch", "cv2", "sklearn", "SimpleITK", "matplotlib") if name in sys.modules]
slicer_host.reset()
print(json.dumps([took, started, words, "torch" in sys.modules, sorted(new & set(heavy))]))
"""


def test_the_panel_opens_within_a_second_starts_nothing_but_the_doctor_and_imports_no_torch():
    code = OPENING.format(testing=str(Path(__file__).parent))
    times = []
    for _ in range(3):  # the machine may be busy
        answer = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=False)
        assert answer.returncode == 0, answer.stderr
        took, started, words, torch, heavy = json.loads(answer.stdout.splitlines()[-1])
        assert started == [["-m", "SkullGANLib", "doctor"]]
        assert words == "Looking at this machine..."
        assert (torch, heavy) == (False, [])
        times.append(took)
        if took < 1:
            return
    pytest.fail(f"It took {times} s.")


def test_the_doctor_is_asked_once_and_again_only_on_demand(desk):
    widget = desk.open()
    widget.parent.exit()
    widget.parent.enter()
    assert desk.started == ["doctor"]
    desk.ui.refreshButton.click()
    assert desk.started == ["doctor", "doctor"]


# the status line ------------------------------------------------------------------------------------------------------

CPU = {**FOUND, "torch": "2.9.0+cpu", "devices": FOUND["devices"][:1], "memory_gib": {"total": None, "free": None}}
OLD = {"what": "torch 2.3 is <too> old.", "mend": "Install torch>=2.4."}


@pytest.mark.parametrize(("found", "words"), [
    (FOUND, "NVIDIA RTX 4090, 22 of 24 GiB free; torch 2.9.0+cu128; 20 of 32 GiB memory free"),
    (CPU, "CPU, 8 cores; torch 2.9.0+cpu"),
    ({**CPU, "torch": None, "devices": []}, "CPU, 8 cores; no torch"),
    ({**CPU, "problems": [OLD]},
     "CPU, 8 cores; torch 2.9.0+cpu<br><b>torch 2.3 is &lt;too&gt; old.</b> Install torch&gt;=2.4."),
])  # fmt: skip
def test_the_status_line_tells_what_the_doctor_found(desk, found, words):
    desk.script("doctor", f"say(result={found!r})")
    desk.open()
    assert desk.ui.statusLabel.text == words
    assert not desk.ui.installButton.visible


def test_a_doctor_that_crashes_is_told_in_words_and_the_panel_stays_usable(desk):
    desk.script("doctor", "import os; print('no luck', flush=True); os._exit(70)")
    desk.open(answered=False)
    desk.until(lambda: "exit code 70" in desk.ui.statusLabel.text)
    assert "no luck" in desk.ui.statusLabel.text
    assert desk.errors == []
    desk.head()
    desk.widget.parent.exit()
    desk.script("doctor", ANSWERED)
    desk.widget.parent.enter()  # looks again, since it does not know yet
    desk.until(lambda: "RTX 4090" in desk.ui.statusLabel.text)
    assert desk.ui.previewButton.enabled
