"""The tools for whole volumes in the panel: when they can be used, what they start, what they tell and show."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
from test_module_panel import makeDesk, tip
from test_module_panel_volumes import DRAWN, options, volumeModel

import slicer_host

desk = pytest.fixture(makeDesk)

TOOLS = {  # button: text, title of the job, words of the child, tooltip
    "calvariumButton": (
        "Cut out calvarium", "Calvarium", "calvarium",
        "Make a volume of the skull cap alone, without face and table, which is better learnt and mapped.",
    ),
    "mapsButton": (
        "Surface maps", "Surface maps", "maps",
        "Make a model of the outer surface of a calvarium, coloured by thickness; SDR and HU are in it, too.",
    ),
    "acousticButton": (
        "Acoustic export...", "Acoustic export", "acoustic",
        "Write density, sound speed and attenuation into a new folder, to simulate ultrasound.",
    ),
    "stackButton": (
        "Stack segments", "Stacking", "stack",
        "Walk the chosen model of segments along a head, and assemble its slices to patches of calvarium.",
    ),
}  # fmt: skip
OF_VOLUMES = [name for name in TOOLS if name != "stackButton"]  # the stack is made of a model


@pytest.fixture
def ui(desk):
    """The panel with a volume in the scene; the tools are open."""
    desk.head()
    ui = desk.open().ui
    desk.parameters.model, desk.parameters.modelPath = "folder", str(desk.model())
    ui.generateCollapsibleButton.collapsed = ui.volumeToolsCollapsibleButton.collapsed = False
    return ui


@pytest.fixture
def tools(desk, ui):
    """Buttons of the tools by name; where a folder is asked for it is that of the test."""
    slicer_host.answers["getExistingDirectory"] = str(desk.folder)
    return {name: getattr(ui, name) for name in TOOLS}


def test_the_tools_need_a_volume_and_the_first_of_the_scene_is_proposed(desk, tools):
    assert desk.parameters.toolVolume is slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode")
    for name, button in tools.items():
        text, _, _, words = TOOLS[name]
        assert (button.enabled, button.text, tip(button)) == (True, text, words)
    desk.parameters.toolVolume = None
    assert {(tools[name].enabled, tip(tools[name])) for name in OF_VOLUMES} == {(False, "Choose a CT volume.")}


@pytest.mark.parametrize("name", TOOLS)
def test_a_tool_can_be_cancelled_and_the_others_wait_for_it(desk, tools, name):
    text, title, word, _ = TOOLS[name]
    desk.waiting(tools[name], "volume")
    (call,) = desk.calls("volume")
    assert call[1] == word
    assert name == "stackButton" or call[2].endswith("volume-1.nrrd")
    assert (tools[name].text, tools[name].enabled) == ("Cancel", True)
    others = [button for other, button in tools.items() if other != name]
    said = {(button.enabled, tip(button)) for button in (*others, desk.ui.trainVolumeButton)}
    assert said == {(False, f"{title} is still running. Cancel it first.")}
    tools[name].click()
    desk.idle()
    assert (tools[name].text, desk.errors) == (text, [])


def test_a_job_that_ends_while_the_panel_is_brought_up_to_date_leaves_no_old_words_on_a_button(desk, tools):
    desk.waiting(tools["calvariumButton"], "volume", "say(exit_code=2, canceled=True)\nsys.exit(2)")
    job = desk.logic.job
    job.cancel()
    desk.panel.update()
    assert tools["calvariumButton"].text == "Cancelling..."
    job._process.wait()
    desk.panel.update()
    assert (job.running, tools["calvariumButton"].text) == (True, "Cancelling...")  # its end was not looked for
    desk.idle()
    assert (tools["calvariumButton"].text, desk.errors) == ("Cut out calvarium", [])


def test_the_calvarium_is_told_of_and_chosen_for_what_comes_next(desk, ui, tools):
    from SkullGANLib.ct.io import write_volume
    from SkullGANLib.ct.volume import Volume

    path = write_volume(Volume(np.zeros((6, 6, 6), np.int16)), desk.folder / "made.nrrd")
    code = f"shutil.copy({str(path)!r}, option('--out'))\nsay(result={{'calvarium': 'x', 'notes': ['Cut low.']}})"
    desk.script("volume", code)
    node = desk.press(tools["calvariumButton"]).value
    assert node.GetName() == "head calvarium"
    assert desk.parameters.toolVolume is node
    assert ui.toolVolumeSelector.currentNode() is node
    assert ui.toolsLabel.text == "Cut low."
    slicer.mrmlScene.Clear(0)
    assert ui.toolsLabel.text == ""


def test_a_surface_map_is_told_of_in_figures(desk, ui, tools):
    figures = {"thickness_mm": {"median": 6.04, "p5": 3.0, "p95": 9.96}}
    figures["sdr"] = {"median": 0.5, "p5": 0.25, "p95": 0.751}
    code = """
import json
out = os.path.join(option("--out"), "volume-1")
os.makedirs(out)
facts = {"format": "skullgan-maps", "version": 1, "library_version": "1", "threshold_hu": 300.0, "step_deg": 2.0}
with open(os.path.join(out, "maps.json"), "w") as file:
    json.dump({**facts, "summary": %r}, file)
with open(os.path.join(out, "skull.vtk"), "w") as file:
    file.write("# vtk DataFile Version 3.0\\nSPACE=LPS\\nASCII\\nDATASET POLYDATA\\nPOINTS 3 float\\n")
    file.write("0 0 0 1 0 0 0 1 0\\nPOLYGONS 1 4\\n3 0 1 2\\n")
    file.write("POINT_DATA 3\\nSCALARS thickness_mm float 1\\nLOOKUP_TABLE default\\n1 2 3\\n")
say(result={"maps": "x", "calvaria": {"volume-1": %r}})
"""
    desk.script("volume", code % (figures, figures))
    node = desk.press(tools["mapsButton"]).value
    assert desk.errors == []
    assert node.GetName() == "head surface"
    assert node.GetDisplayNode().GetScalarRange() == (3.0, 9.96)
    assert node.GetPolyData().GetPoint(1) == (-1.0, 0.0, 0.0)
    assert ui.toolsLabel.text == "Thickness in mm: 6.0 (3.0 to 10.0); SDR: 0.50 (0.25 to 0.75)."


def test_an_acoustic_medium_gets_a_new_folder_in_the_one_that_is_chosen(desk, ui, tools):
    (desk.folder / "acoustic-1").mkdir()
    desk.script("volume", "say(result={'acoustic': 'x'})")
    desk.press(tools["acousticButton"])
    out = str(desk.folder / "acoustic-2")
    assert options(desk.calls("volume")[0])["--out"] == out
    assert ui.toolsLabel.text == f"Written to {out}."
    slicer_host.answers["getExistingDirectory"] = ""  # the dialog was closed
    before = desk.logic.job
    tools["acousticButton"].click()
    assert desk.logic.job is before


def test_slices_are_stacked_of_the_model_chosen_and_their_steps_are_told(desk, ui, tools):
    from SkullGANLib.ct.io import write_volume
    from SkullGANLib.ct.volume import Volume

    path = write_volume(Volume(np.zeros((6, 6, 6), np.int16)), desk.folder / "made.nrrd")
    code = f"{DRAWN % str(path)}\nsay(result={{'continuity': {{'distance_mm': 1.0, 'step_hu': 93.6}}, 'notes': []}})"
    desk.script("volume", code)
    desk.parameters.volumeCount, desk.parameters.seed = 2, 5
    nodes = desk.press(tools["stackButton"]).value
    assert desk.errors == []
    given = options(desk.calls("volume")[0])
    assert (given["--model"], given["--count"], given["--seed"]) == (desk.parameters.modelPath, "2", "5")
    assert len(nodes) == 2
    assert ui.toolsLabel.text == "Slices 1 mm apart differ by 94 HU."
    volumeModel(desk)
    assert (tools["stackButton"].enabled, tip(tools["stackButton"])) == (False, "Choose a model of segments above.")


def test_what_a_tool_cannot_do_is_told_in_two_lines(desk, ui, tools):
    words = "say(exit_code=1, error='The volume shows no calvarium.', advice='Cut it out first.')"
    desk.script("volume", f"{words}\nsys.exit(1)")
    desk.press(tools["mapsButton"])
    assert [text for text, _ in desk.errors] == ["The volume shows no calvarium.\n\nCut it out first."]
    assert ui.toolsLabel.text == ""
