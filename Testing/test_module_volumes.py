"""Whole volumes in the module's logic: on Slicer's real MRML, with real child processes."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
import slicer
from scipy.spatial.transform import Rotation
from slicer import util

import slicer_host
from SkullGANLib.ct.io import read_volume
from SkullGANLib.ct.phantom import HeadPhantom
from SkullGANLib.ct.volume import Volume
from SkullGANLib.errors import InputError, SkullGANError
from SkullGANLib.jobs import JobState

SMALL = {"smallest": 8, "largest": 12, "iterations": 1, "channels": 4, "generator_steps": 1, "discriminator_steps": 1}
SMALL["window_hu"] = (-1000, 1000)
GIVEN = {"device": "cpu", "settings": SMALL}
FLIP = np.array([-1, -1, 1])


@pytest.fixture(scope="module")
def head():
    return HeadPhantom(2).render(shape=(48, 56, 48), spacing_mm=(4.0, 4.0, 4.0)).volume


def show(volume, name="DOE JOHN 1970"):
    from SkullGANSlicer import scene

    return scene.showVolume(volume, name=name)


def roiAt(low, high, turn=None):
    """An ROI between two corners in RAS mm, turned about its middle."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "region")
    matrix = np.eye(4)
    matrix[:3, 3] = (np.array(low) + high) / 2
    matrix[:3, :3] = np.eye(3) if turn is None else turn
    node.SetAndObserveObjectToNodeMatrix(util.vtkMatrixFromArray(matrix))
    node.SetSize(*(np.array(high) - low).tolist())
    return node


def under(*nodes, turn=(0, 0, 0), shift=(30.0, -20.0, 55.0)):
    """Put nodes below a transform."""
    parent = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = Rotation.from_euler("xyz", turn, degrees=True).as_matrix(), shift
    parent.SetMatrixTransformToParent(util.vtkMatrixFromArray(matrix))
    for node in nodes:
        node.SetAndObserveTransformNodeID(parent.GetID())
    return matrix


def partInRoi(volume: Volume, roi) -> tuple[Volume, str]:
    from SkullGANSlicer import geometry

    box, note = geometry.boxInRoi(volume, roi)
    return volume.part(*map(tuple, box.tolist())), note


def cornersOf(volume: Volume) -> np.ndarray:
    """(8, 3) RAS mm of the outer corners of a volume's voxels, low slice, row and column first."""
    last = np.array(volume.shape) - 0.5
    indices = np.array(list(np.ndindex(2, 2, 2))) * (last + 0.5) - 0.5
    return volume.zyx_to_lps(indices) * FLIP


def cornersOfNode(node) -> np.ndarray:
    from SkullGANSlicer import geometry

    return cornersOf(geometry.volumeFromNode(node))


def test_the_module_test_passes_from_a_volume_to_others(module):
    test = module.SkullGANTest()
    test.setUp()
    test.test_fromVolumeToVolumes()


# from a node to volumes beside it -------------------------------------------------------------------------------------

LOW, HIGH = np.array([-70.0, -80.0, -40.0]), np.array([60.0, 75.0, 70.0])  # of the ROI, before the transform


@pytest.fixture(scope="module")
def learnt(module, head, tmp_path_factory):
    """A run that has learnt the part in an ROI of a head that lies under a transform."""
    slicer_host.reset()
    logic, folder = module.SkullGANLogic(), tmp_path_factory.mktemp("volumes")
    node, roi = headAndRoi(head)
    run = logic.trainVolume(node, folder / "run", roi=roi, **GIVEN)
    assert len(run.samples) == 2  # a picture for each scale
    assert run.statistics()[-1]["images"] == 3
    return run


@pytest.fixture(scope="module")
def written(module, learnt, tmp_path_factory):
    """Folder of two volumes that were drawn from it."""
    slicer_host.reset()
    out = tmp_path_factory.mktemp("drawn") / "volumes"
    module.SkullGANLogic().generateVolumes(learnt, count=2, seed=5, out=out, device="cpu")
    return out


def shown(written):
    from SkullGANSlicer import scene_volumes

    return scene_volumes.showDrawn(written, name="Drawn")


def headAndRoi(head):
    node, roi = show(head), roiAt(LOW, HIGH)
    under(node, roi, turn=(0, 0, 17), shift=(30.0, -20.0, 55.0))
    return node, roi


def test_volumes_drawn_lie_where_the_roi_does_in_hounsfield_units(logic, head, written):
    (_, roi), drawn = headAndRoi(head), shown(written)
    assert len(drawn) == 2
    toWorld = util.arrayFromVTKMatrix(roi.GetObjectToWorldMatrix())
    signs = 2 * np.array(list(np.ndindex(2, 2, 2))) - 1
    wanted = (signs * (HIGH - LOW) / 2) @ toWorld[:3, :3].T + toWorld[:3, 3]
    for number, one in enumerate(drawn):
        corners = cornersOfNode(one)
        nearest = np.linalg.norm(corners[:, None] - wanted, axis=2).min(axis=1)
        assert nearest.max() <= np.sqrt(3) * 4 / 2 + 1e-3  # half a voxel of the input along each axis
        hu = util.arrayFromVolume(one)
        assert hu.dtype == np.int16
        assert max(hu.shape) == 12
        assert hu.min() >= -1000
        assert hu.max() <= 1000
        assert hu.std() > 1
        onDisk = read_volume(written / f"volume-{number + 1:04d}.nrrd", labels=True)
        assert np.array_equal(hu, onDisk.hu)
        assert np.allclose(corners, cornersOf(onDisk))
    assert not np.array_equal(*map(util.arrayFromVolume, drawn))


def test_volumes_drawn_say_where_they_come_from(logic, learnt, written, tmp_path):
    from SkullGANLib.files import sha256_of
    from SkullGANLib.models.folder import load_model

    drawn = shown(written)
    names = ("kind", "volumes", "family", "modelHash", "seed", "firstScale", "image", "file", "sha256")
    said = {name: drawn[1].GetAttribute(f"SkullGAN.{name}") for name in names}
    path = written / "volume-0002.nrrd"
    wanted = {"kind": "synthetic volume", "volumes": str(path.parent), "family": "pyramid3d", "seed": "5"}
    wanted |= {"modelHash": load_model(learnt.model, volumes=True).hash, "firstScale": "0", "image": "1"}
    assert said == wanted | {"file": path.name, "sha256": sha256_of(path)}
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    parents = {hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) for node in drawn}
    assert [hierarchy.GetItemName(item) for item in parents] == ["SkullGAN Drawn"]
    assert [node.GetName() for node in drawn] == ["Drawn, 1", "Drawn, 2"]
    with pytest.raises(InputError, match="holds no segments"):
        logic.export(drawn[0], tmp_path / "x.npy")
    written = b"".join(file.read_bytes() for file in [*written.iterdir(), *learnt.path.rglob("*")] if file.is_file())
    assert b"DOE" not in written


def test_bone_is_rendered_of_the_first_volume_and_none_where_slicer_cannot(logic, written, monkeypatch):
    drawn = shown(written)
    rendering = slicer.modules.volumerendering.logic()
    displays = [rendering.GetFirstVolumeRenderingDisplayNode(node) for node in drawn]
    assert [display.GetVisibility() for display in displays] == [1, 0]
    opacity = displays[0].GetVolumePropertyNode().GetScalarOpacity()
    assert opacity.GetValue(-500) == 0
    assert opacity.GetValue(700) == pytest.approx(0.7)
    monkeypatch.delattr(slicer.modules, "volumerendering")
    from SkullGANSlicer import scene_volumes

    assert scene_volumes.renderBone(drawn[0]) is None


def test_an_enlarged_volume_has_voxels_of_the_same_size_from_the_same_corner_on(logic, learnt, written):
    plain = shown(written)[0]
    (large,) = logic.generateVolumes(learnt, enlarged=(1, 1.5, 2), device="cpu")
    assert large.GetSpacing() == pytest.approx(plain.GetSpacing(), rel=0.05)  # of whole voxels
    sizes, before = (np.array(node.GetImageData().GetDimensions()[::-1]) for node in (large, plain))
    assert sizes.tolist() == np.round(before * [1, 1.5, 2]).astype(int).tolist()
    assert cornersOfNode(large)[0] == pytest.approx(cornersOfNode(plain)[0], abs=1e-3)
    assert large.GetName() == "Synthetic volume run, seed 0"


def test_a_source_gives_place_and_coarse_structure(logic, head, learnt):
    node = show(head)
    under(node, shift=(200.0, 0.0, 0.0))
    (refined,) = logic.generateVolumes(learnt, first_scale=1, source=node, device="cpu")
    corners, wanted = cornersOfNode(refined), cornersOfNode(node)
    assert np.allclose(corners, wanted, atol=1e-3)
    assert refined.GetNodeReference("SkullGAN.source") is node
    assert refined.GetAttribute("SkullGAN.firstScale") == "1"


# side by side ---------------------------------------------------------------------------------------------------------


def test_the_comparison_shows_the_same_place_of_both_framed_to_the_part_learnt(head):
    slices = slicer_host.sliceLogics()
    module = slicer_host.load_module("SkullGAN")
    node = show(head)
    part = head.part((10, 12, 8), (30, 44, 40))
    drawn = show(part, "drawn")
    node.GetDisplayNode().SetWindowLevelMinMax(0, 1)
    module.SkullGANLogic().compareVolumes(node, drawn)
    red, green = slices["Red"], slices["Green"]
    assert red.GetSliceCompositeNode().GetBackgroundVolumeID() == node.GetID()
    assert green.GetSliceCompositeNode().GetBackgroundVolumeID() == drawn.GetID()
    assert red.GetSliceCompositeNode().GetLinkedControl() == green.GetSliceCompositeNode().GetLinkedControl() == 1
    places = [util.arrayFromVTKMatrix(each.GetSliceNode().GetSliceToRAS()) for each in (red, green)]
    assert np.array_equal(*places)
    assert places[0][:3, 3] == pytest.approx(cornersOf(part).mean(axis=0))
    width, height, _ = red.GetSliceNode().GetFieldOfView()
    assert height == pytest.approx(33 * 4 * 1.05)  # rows of the part, and the margin
    assert width == pytest.approx(1.5 * height)
    levels = [(each.GetDisplayNode().GetWindow(), each.GetDisplayNode().GetLevel()) for each in (node, drawn)]
    assert levels == [(2000, 700)] * 2


def test_the_comparison_has_a_layout_of_its_own_that_slicer_knows():
    slicer_host.start(gui=True)
    slicer_host.reset()
    from SkullGANSlicer import scene, views

    nodes = [scene.showVolume(Volume(np.zeros((4, 4, 4), np.int16)), name=name) for name in ("a", "b")]
    for _ in range(2):
        views.compareVolumes(*nodes)
    manager = slicer.app.layoutManager()
    assert manager.layout == views.COMPARISON
    manager.layoutLogic().GetLayoutNode().SetViewArrangement(views.COMPARISON)
    shown = manager.layoutLogic().GetViewNodes()
    names = {shown.GetItemAsObject(i).GetLayoutName() for i in range(shown.GetNumberOfItems())}
    assert names == {"Red", "Green", "1"}
    slicer_host.start(gui=False)


def test_what_is_no_volume_is_not_compared(logic, head):
    with pytest.raises(InputError, match="No volume is chosen"):
        logic.compareVolumes(None, show(head))
    with pytest.raises(InputError, match="is no volume node"):
        logic.generateVolumes("anywhere", beside=slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode"))


# for simulations ------------------------------------------------------------------------------------------------------


def test_a_volume_of_the_scene_is_exported_as_an_acoustic_medium_where_it_lies(logic, head, tmp_path):
    node = show(head)
    under(node, turn=(0, 0, 90))
    given = {"relation": "schneider", "frequency_khz": 650.0}
    out = logic.acousticExport(node, tmp_path / "medium", **given)
    told = json.loads((out / "acoustic.json").read_text())
    assert (told["relation"], told["frequency_mhz"]) == ("schneider", 0.65)
    density = read_volume(out / "density.nii.gz", labels=True)
    assert np.allclose(cornersOf(density), cornersOfNode(node), atol=1e-2)
    bone = util.arrayFromVolume(node) > 1000
    assert np.median(density.hu[bone]) > 1400  # kg per cubic metre
    with pytest.raises(SkullGANError, match=r"exists|holds"):
        logic.acousticExport(node, out, **given)


# stopping and going on ------------------------------------------------------------------------------------------------


def test_a_training_that_is_cancelled_goes_on_with_the_same_volume_only(logic, head, tmp_path):
    node, roi = headAndRoi(head)
    roi.SetCenterWorld(900.0, 0.0, 0.0)
    with pytest.raises(InputError, match="holds no voxel"):
        logic.trainVolume(node, tmp_path / "run", roi=roi, **GIVEN)
    roi.SetCenter(*((LOW + HIGH) / 2).tolist())
    given = {"roi": roi, "device": "cpu", "settings": {**SMALL, "iterations": 60}}
    job = logic.trainVolume(node, tmp_path / "run", wait=False, **given)
    end = time.monotonic() + 60
    while job.progress.value < 10:
        assert job.poll(), job.log_text()
        assert time.monotonic() < end
        time.sleep(0.01)
    assert job.progress.maximum == 180  # 60 at the first scale, 120 at the second
    job.cancel()
    while job.poll():
        time.sleep(0.01)
    assert job.state is JobState.CANCELLED
    done = max(int(path.name) for path in (tmp_path / "run" / "checkpoints").iterdir())
    assert 10 <= done < 180
    roi.SetSize(60.0, 60.0, 60.0)
    with pytest.raises(SkullGANError, match="holds a training with another"):
        logic.trainVolume(node, tmp_path / "run", **given)
    roi.SetSize(*(HIGH - LOW).tolist())
    values = []
    logic.started.connect(lambda job: job.progressed.connect(lambda j: values.append(j.progress.value)))
    run = logic.trainVolume(node, tmp_path / "run", **given)
    assert done <= min(values) < max(values) == 180
    assert (run.model / "model.json").is_file()


def test_an_roi_for_a_scan_on_disk_is_refused(logic, tmp_path):
    with pytest.raises(InputError, match=r"Load the scan first"):
        logic.trainVolume(tmp_path / "scan", tmp_path / "run", roi=roiAt(LOW, HIGH))


def test_a_scene_closed_meanwhile_takes_no_volumes(logic, learnt, tmp_path):
    job = logic.generateVolumes(learnt, out=tmp_path / "volumes", device="cpu", wait=False)
    slicer.mrmlScene.Clear(0)
    while job.poll():
        time.sleep(0.01)
    assert (job.state, job.value) == (JobState.DONE, None)
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 0
    assert (tmp_path / "volumes" / "volume-0001.nrrd").is_file()
