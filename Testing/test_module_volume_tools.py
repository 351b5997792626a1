"""Calvaria, surface maps, media, stacks and the ablation in the module's logic: real MRML, real child processes."""

from __future__ import annotations

import json

import numpy as np
import pytest
import slicer
from scipy.ndimage import map_coordinates
from slicer import util
from vtk.util.numpy_support import vtk_to_numpy

from SkullGANLib.ct.io import read_volume
from SkullGANLib.ct.phantom import HeadPhantom
from SkullGANLib.errors import FormatError, InputError, SkullGANError

AWAY_RAS = np.array([130.0, -90.0, 210.0])  # where the head lies: a sign that is wrong puts things elsewhere
HIERARCHY = slicer.vtkMRMLSubjectHierarchyNode


@pytest.fixture(scope="module")
def head():
    return HeadPhantom(2).render(shape=(100, 116, 96), spacing_mm=(2.0, 2.0, 2.0)).volume


def show(volume, name="head"):
    """The volume in the scene, away from the origin."""
    from SkullGANSlicer import scene

    node = scene.showVolume(volume, name=name)
    node.SetOrigin(*(np.array(node.GetOrigin()) + AWAY_RAS))
    return node


def bounds(node):
    found = np.zeros(6)
    node.GetRASBounds(found)
    return found.reshape(3, 2)


def huAt(node, ras):
    """HU of a volume node at (n, 3) places; those beside it have those of air."""
    matrix = util.vtkMatrixFromArray(np.eye(4))
    node.GetRASToIJKMatrix(matrix)
    matrix = util.arrayFromVTKMatrix(matrix)
    ijk = ras @ matrix[:3, :3].T + matrix[:3, 3]
    return map_coordinates(util.arrayFromVolume(node).astype(float), ijk.T[::-1], order=3, cval=-1000)


def placesOf(node, kji):
    matrix = util.vtkMatrixFromArray(np.eye(4))
    node.GetIJKToRASMatrix(matrix)
    matrix = util.arrayFromVTKMatrix(matrix)
    return kji[:, ::-1] @ matrix[:3, :3].T + matrix[:3, 3]


def folderOf(node):
    hierarchy = HIERARCHY.GetSubjectHierarchyNode(slicer.mrmlScene)
    return hierarchy.GetItemName(hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)))


# calvaria and their maps ----------------------------------------------------------------------------------------------


def test_a_calvarium_lies_in_its_head_and_its_surface_map_on_its_bone(logic, head, tmp_path):
    colours = slicer.vtkMRMLColorTableNode()
    colours.SetTypeToUser()
    colours.SetSingletonTag("FileViridis.txt")  # as Slicer names those that it brings
    slicer.mrmlScene.AddNode(colours)
    node = show(head)

    calvarium = logic.cropCalvarium(node, spacing_mm=2.0)
    assert calvarium.GetName() == "head calvarium"
    assert calvarium.GetSpacing() == pytest.approx((2.0, 2.0, 2.0))
    assert calvarium.GetAttribute("SkullGAN.kind") == "calvarium"
    assert calvarium.GetNodeReference("SkullGAN.source") is node
    assert isinstance(logic.job.result["notes"], list)
    hu, whole, part = util.arrayFromVolume(calvarium), bounds(node), bounds(calvarium)
    assert part[2, 1] - part[2, 0] < 0.75 * (whole[2, 1] - whole[2, 0])  # the face is cut off
    assert part[2, 0] > whole[2, 0] + 30  # at the lower end
    dense = np.argwhere(hu > 1000)
    assert len(dense) > 5000
    assert np.median(np.abs(huAt(node, placesOf(calvarium, dense)) - hu[tuple(dense.T)])) < 50
    display = calvarium.GetDisplayNode()
    assert (display.GetWindow(), display.GetLevel(), display.GetAutoWindowLevel()) == (2000, 700, 0)

    surface = logic.surfaceMaps(calvarium, tmp_path / "maps")
    assert surface.GetClassName() == "vtkMRMLModelNode"
    assert surface.GetName() == "head calvarium surface"
    assert folderOf(surface) == "SkullGAN head calvarium surface"
    data = surface.GetPolyData().GetPointData()
    assert {data.GetArrayName(at) for at in range(data.GetNumberOfArrays())} >= {"thickness_mm", "sdr", "mean_hu"}
    points = vtk_to_numpy(surface.GetPolyData().GetPoints().GetData()).astype(float)
    thickness = vtk_to_numpy(data.GetArray("thickness_mm"))
    assert len(points) == len(thickness) > 1000
    assert (points.min(axis=0) > part[:, 0]).all()
    assert (points.max(axis=0) < part[:, 1]).all()
    outward = points - points.mean(axis=0)
    outward /= np.linalg.norm(outward, axis=1)[:, None]
    assert np.mean(huAt(node, points - 2 * outward) > 300) > 0.9  # bone within the surface
    assert np.mean(huAt(node, points + 4 * outward) < 300) > 0.9  # and none outside
    display, summary = surface.GetDisplayNode(), json.loads((tmp_path / "maps/volume-1/maps.json").read_text())
    assert (display.GetActiveScalarName(), display.GetScalarVisibility()) == ("thickness_mm", 1)
    known = summary["summary"]["thickness_mm"]
    assert display.GetScalarRange() == pytest.approx((known["p5"], known["p95"]))
    assert known["p5"] < np.median(thickness) < known["p95"]
    assert display.GetColorNode() is colours
    assert surface.GetNodeReference("SkullGAN.source") is calvarium
    said = {name: surface.GetAttribute(f"SkullGAN.{name}") for name in ("kind", "maps", "thresholdHU")}
    assert said == {"kind": "surface map", "maps": str(tmp_path / "maps" / "volume-1"), "thresholdHU": "300.0"}
    assert surface.GetStorageNode() is None  # it is saved with the scene, whatever becomes of the folder
    assert util.getNodesByClass("vtkMRMLModelStorageNode") == []

    out = logic.acousticExport(calvarium, tmp_path / "medium", relation="aubry")
    assert json.loads((out / "acoustic.json").read_text())["relation"] == "aubry"
    density = read_volume(out / "density.nii.gz", labels=True)
    corner = density.index_to_lps[:3, 3] * [-1, -1, 1]
    assert corner == pytest.approx(placesOf(calvarium, np.zeros((1, 3)))[0], abs=1e-2)


def test_a_whole_head_has_no_surface_map_and_the_library_says_why(logic, head, tmp_path):
    node = show(head)
    before = slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLModelNode")  # Slicer's slices are models, too
    with pytest.raises(SkullGANError, match="calvarium"):
        logic.surfaceMaps(node, tmp_path / "maps")
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLModelNode") == before


def test_of_a_head_that_is_none_the_library_says_why_and_no_node_is_left(logic):
    node = show(HeadPhantom(2).render(shape=(24, 28, 24), spacing_mm=(8.0, 8.0, 8.0)).volume, "empty")
    util.updateVolumeFromArray(node, np.full((24, 28, 24), -1000, np.int16))
    before = slicer.mrmlScene.GetNumberOfNodes()
    with pytest.raises(SkullGANError) as caught:
        logic.cropCalvarium(node)
    assert caught.value.message
    assert caught.value.advice
    assert slicer.mrmlScene.GetNumberOfNodes() == before


def test_what_is_no_surface_is_refused_and_leaves_no_node(logic, tmp_path):
    from SkullGANSlicer.volume_tools import showSurface

    (tmp_path / "skull.vtk").write_text("no surface")
    (tmp_path / "maps.json").write_text('{"format": "skullgan-maps", "version": 1}')
    before = slicer.mrmlScene.GetNumberOfNodes()
    with pytest.raises(FormatError, match="no surface"):
        showSurface(tmp_path, name="surface")
    assert slicer.mrmlScene.GetNumberOfNodes() == before


@pytest.mark.parametrize("verb", ["cropCalvarium", "surfaceMaps", "acousticExport", "ablation"])
def test_no_volume_and_no_volume_node_are_refused_before_a_child_starts(logic, tmp_path, verb):
    given = [tmp_path / "out"] if verb != "cropCalvarium" else []
    before = logic.job
    with pytest.raises(InputError, match="No volume is chosen"):
        getattr(logic, verb)(None, *given)
    with pytest.raises(InputError, match="is no volume"):
        getattr(logic, verb)(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode"), *given)
    assert logic.job is before
    assert not (tmp_path / "out").exists()


# stacks and the ablation ----------------------------------------------------------------------------------------------


def test_a_stack_of_the_shipped_model_comes_into_the_scene(logic, tmp_path):
    (node,) = logic.stackVolumes("phantom", slices=12, seed=3, out=tmp_path / "stack", device="cpu")
    hu, onDisk = util.arrayFromVolume(node), read_volume(tmp_path / "stack" / "volume-0001.nrrd", labels=True)
    assert np.array_equal(hu, onDisk.hu)
    assert hu.max() > 800
    assert placesOf(node, np.zeros((1, 3)))[0] == pytest.approx(onDisk.index_to_lps[:3, 3] * [-1, -1, 1], abs=1e-3)
    assert node.GetAttribute("SkullGAN.seed") == "3"
    assert len(node.GetAttribute("SkullGAN.modelHash")) == 64
    assert folderOf(node) == "SkullGAN Synthetic patch phantom, seed 3"
    assert (tmp_path / "stack" / "continuity.json").is_file()


def test_the_ablation_runs_on_a_node_and_its_figures_are_a_table(logic, tmp_path):
    from SkullGANSlicer.scene import tableColumns

    volume = HeadPhantom(2).render(shape=(24, 28, 24), spacing_mm=(8.0, 8.0, 8.0)).volume
    small = {"smallest": 8, "largest": 8, "iterations": 1, "channels": 4}
    given = {"dimensions": "3", "seeds": 2, "samples": 2, "device": "cpu", "settings": small}
    out = logic.ablation(show(volume), tmp_path / "ablation", **given)
    assert "| D " in (out / "ablation.md").read_text(encoding="utf-8")
    (table,) = [each for each in util.getNodesByClass("vtkMRMLTableNode") if each.GetName() == "head ablation 3D"]
    columns, runs = tableColumns(table), json.loads((out / "ablation-3d.json").read_text())["runs"]
    assert columns["setting"].tolist() == ["A", "A", "B", "B", "C", "C", "D", "D"]
    assert columns["seed"].tolist() == [0, 1] * 4
    assert columns["psnr"] == pytest.approx([run["psnr"] for of in runs.values() for run in of])


def test_several_calvaria_of_a_folder_are_mapped_but_one_is_shown_at_a_time(logic, tmp_path, monkeypatch):
    monkeypatch.setattr(logic, "_run", lambda title, arguments, load, *_: load({"calvaria": {"a": {}, "b": {}}}))
    with pytest.raises(InputError, match="holds several volumes; their maps are in"):
        logic.surfaceMaps(tmp_path / "calvaria", tmp_path / "maps")
