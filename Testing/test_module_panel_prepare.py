"""The first section of the panel: preview, prepare, the table of pieces and their places in the head."""

from __future__ import annotations

import numpy as np
import pytest
from test_module_panel import cells, makeDesk

import slicer_host

desk = pytest.fixture(makeDesk)

FRAME = [  # of the red view for segments of Desk.dataset: right, up and normal as columns, middle of the square, in RAS
    [0, 1, 0, -10 - 127 / 2 * 0.45],
    [-1, 0, 0, -20 - 127 / 2 * 0.45],
    [0, 0, 1, 30],
    [0, 0, 0, 1],
]


def red():
    """SliceToRAS of the red view."""
    import slicer

    return slicer.util.arrayFromVTKMatrix(slicer.mrmlScene.GetNodeByID("vtkMRMLSliceNodeRed").GetSliceToRAS())


def volumes():
    import slicer

    return slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")


def prepared(desk, *more: str) -> None:
    """Let the child of Prepare hand back a data set of three segments, and press the button."""
    made = desk.dataset("made").path
    desk.script("prepare", f"hand({str(made)!r}, segments=3, notes={list(more)!r})")
    job = desk.press(desk.ui.prepareButton)
    assert job.error is None


def test_a_head_is_previewed_and_prepared_by_the_buttons(desk, coarse):
    import slicer

    from SkullGANSlicer import scene

    head = scene.showVolume(coarse.volume, name="head")
    desk.real.add("prepare")
    ui = desk.open().ui
    assert ui.volumesSelector.checkedNodes() == (head,)
    ui.coronalCheckBox.checked = ui.sagittalCheckBox.checked = False
    ui.intervalSlider.value = 6.2
    desk.press(ui.previewButton)
    preview = desk.logic.job.value
    assert ui.prepareLabel.text.startswith(
        f"{preview.kept} of {len(preview.hu)} pieces are good enough for a data set."
    )
    heading, *rows = cells(ui.piecesTable)
    assert heading == ["index", "region", "side", "plane", "position (mm)", "SDR", "thickness (mm)", "quality"]
    assert len(rows) == len(preview.hu) > preview.kept > 10
    assert [row[-1] == "ok" for row in rows].count(True) == preview.kept
    assert {row[3] for row in rows} == {"axial"}

    chosen = next(i for i, row in enumerate(rows) if row[-1] == "ok")
    ui.piecesTable.setCurrentCell(chosen, 0)
    place = {name: preview.rows[name][chosen] for name in preview.rows}
    corner, right, down = (
        np.array([-place[f"{name}_x"], -place[f"{name}_y"], place[f"{name}_z"]]) for name in ("corner", "right", "down")
    )
    matrix = red()
    np.testing.assert_allclose(matrix[:3, 0], right, atol=1e-6)
    np.testing.assert_allclose(matrix[:3, 1], -down, atol=1e-6)
    np.testing.assert_allclose(matrix[:3, 3], corner + 63.5 * 0.45 * (right + down), atol=1e-4)

    before = volumes()
    ui.placeButton.click()
    (placed,) = [node for node in volumes() if node not in before]
    assert np.array_equal(slicer.util.arrayFromVolume(placed)[0], preview.hu[chosen])
    composite = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")[0]
    assert composite.GetForegroundVolumeID() == placed.GetID()
    assert composite.GetBackgroundVolumeID() == head.GetID()

    desk.parameters.volumes = [head]
    desk.press(ui.prepareButton)
    dataset = desk.logic.job.value
    assert len(dataset) == preview.kept == ui.piecesTable.rowCount
    assert ui.prepareLabel.text.startswith(f"{preview.kept} segments in the data set.")
    assert set(dataset.table["plane"]) == {"axial"}
    assert np.diff(np.unique(dataset.table["position_mm"])).min() == pytest.approx(6.2)
    assert desk.parameters.trainDataPath == desk.parameters.realPath == str(desk.folder / "home" / "segments-1")
    assert ui.trainDataPathLineEdit.currentPath == desk.parameters.trainDataPath
    assert desk.errors == []


def test_a_data_set_is_of_the_kind_of_its_volumes(desk):
    head, other = desk.head("phantom"), desk.head("patient")
    head.SetAttribute("SkullGAN.kind", "phantom head")
    ui = desk.open().ui
    desk.script("prepare", "sys.exit(2)")
    kinds = []
    for chosen in (head, other):
        desk.parameters.volumes = [chosen]
        desk.press(ui.prepareButton)
        call = desk.calls("prepare")[-1]
        kinds.append(call[call.index("--kind") + 1])
    assert kinds == ["phantom", "real"]
    other.SetAttribute("SkullGAN.kind", "synthetic volume")
    desk.parameters.volumes = [other]
    desk.press(ui.prepareButton)
    call = desk.calls("prepare")[-1]
    assert call[call.index("--kind") + 1] == "synthetic"
    other.RemoveAttribute("SkullGAN.kind")
    desk.parameters.volumes = [head, other]
    before = desk.logic.job
    ui.prepareButton.click()
    assert desk.logic.job is before
    ((text, _),) = desk.errors
    assert text.startswith("The volumes are of several kinds: phantom, real.")


def test_the_choices_of_the_panel_reach_the_child(desk):
    import slicer

    desk.head("DOE JOHN")
    ui = desk.open().ui
    ui.sagittalCheckBox.checked = False
    ui.occipitalCheckBox.checked = True
    ui.temporalCheckBox.checked = False
    ui.intervalSlider.value = 4.25
    ui.huOffsetSpinBox.value = -1024
    frame = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    ui.headFrameSelector.setCurrentNode(frame)
    ui.datasetPathLineEdit.currentPath = str(desk.folder / "out")
    desk.script("prepare", "sys.exit(2)")
    desk.press(ui.prepareButton)
    ((command, volume, *options),) = desk.calls("prepare")
    assert (command, volume.rpartition("volume-")[2]) == ("prepare", "1.nrrd")
    words = " ".join(options)
    assert f"--out {desk.folder / 'out'} --planes axial,coronal --regions parietal,occipital" in words
    assert "--interval-mm 4.25" in words
    assert "--hu-offset -1024" in words
    assert "--head-frame" in words
    assert "--mask" not in words
    assert "DOE" not in words
    ui.scansPathLineEdit.currentPath = str(desk.folder)  # in place of the volumes
    desk.press(ui.previewButton)
    assert desk.calls("prepare")[-1][1] == str(desk.folder)


def test_choosing_a_row_shows_its_place_and_the_scan_it_was_cut_from(desk):
    desk.ready()
    prepared(desk)
    table = desk.ui.piecesTable
    assert [row[:4] for row in cells(table)[1:]] == [[str(i), "temporal", "left", "axial"] for i in range(3)]
    for row in (1, 2, 0):
        table.setCurrentCell(row, 0)
        expected = np.array(FRAME)
        expected[2, 3] += row
        np.testing.assert_allclose(red(), expected, atol=1e-6)


def test_notes_of_the_child_are_told_without_dashes(desk):
    desk.ready()
    prepared(desk, "Values look odd: see --hu-offset.")
    words = '3 segments in the data set. Values look odd: see "HU offset".'
    assert desk.ui.prepareLabel.text == words


def test_a_placed_segment_lies_where_it_was_cut(desk):
    import slicer
    import vtk

    desk.ready()
    prepared(desk)
    assert not desk.ui.placeButton.enabled
    desk.ui.piecesTable.setCurrentCell(2, 3)
    before = volumes()
    desk.ui.placeButton.click()
    (placed,) = [node for node in volumes() if node not in before]
    matrix = vtk.vtkMatrix4x4()
    placed.GetIJKToRASMatrix(matrix)
    np.testing.assert_allclose(matrix.MultiplyPoint([0, 0, 0, 1])[:3], [-10, -20, 32], atol=1e-6)
    np.testing.assert_allclose(matrix.MultiplyPoint([100, 10, 0, 1])[:3], [-10 - 4.5, -20 - 45, 32], atol=1e-6)
    assert slicer.util.arrayFromVolume(placed)[0, 25].max() == 1002
    assert placed.GetName() == "Segment 2 temporal left"


def test_replacing_a_data_set_is_asked_first(desk):
    ui = desk.ready()
    desk.parameters.datasetPath = str(desk.folder / "real")
    slicer_host.answers["confirmYesNoDisplay"] = False
    ui.prepareButton.click()
    assert desk.logic.job is None
    assert slicer_host.shown[-1] == (
        "confirmYesNoDisplay", f"{desk.folder / 'real'} holds a data set of 3 real segments. Replace it?"
    )  # fmt: skip
    slicer_host.answers["confirmYesNoDisplay"] = True
    prepared(desk)
    assert "--overwrite" in desk.calls("prepare")[0]
    asked = [what for what, _ in slicer_host.shown].count("confirmYesNoDisplay")
    desk.parameters.datasetPath = str(desk.folder / "new")
    assert desk.press(ui.prepareButton).error is None
    assert [what for what, _ in slicer_host.shown].count("confirmYesNoDisplay") == asked


def test_results_that_the_console_asked_for_are_shown_too(desk):
    desk.open()
    desk.logic.show(desk.dataset("real"))
    assert desk.ui.piecesTable.rowCount == 3
    assert desk.ui.prepareLabel.text == "3 segments in the data set."
    desk.ui.piecesTable.setCurrentCell(0, 0)
    np.testing.assert_allclose(red(), FRAME, atol=1e-6)


@pytest.mark.parametrize("kind", ["label map", "segments", "placed segment"])
def test_the_first_scan_is_chosen_whatever_other_volumes_there_are(desk, kind):
    import slicer

    if kind == "label map":
        slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")
    elif kind == "segments":
        slicer_host.load_module().SkullGANLogic().show(desk.dataset("synthetic", "synthetic"))
    else:
        slicer_host.load_module().SkullGANLogic().placeSegment(0, desk.dataset("real"))
    head = desk.head()
    desk.open()
    assert list(desk.parameters.volumes) == [head]


def test_what_is_done_while_another_module_is_shown_counts_too(desk):
    desk.ready()
    desk.parameters.trainDataPath = desk.parameters.realPath = ""
    made = desk.dataset("made").path
    desk.script("prepare", f'wait("go")\nhand({str(made)!r}, segments=3)')
    desk.ui.prepareButton.click()
    desk.widget.parent.exit()
    desk.release("go")
    desk.idle()
    desk.widget.parent.enter()
    assert desk.ui.piecesTable.rowCount == 3
    assert desk.ui.prepareButton.text == "Prepare"
    assert desk.parameters.trainDataPath == desk.parameters.realPath == desk.parameters.datasetPath
