"""Calvaria, surface maps, stacks and the ablation in the module's logic: on real MRML, with real child processes."""

from __future__ import annotations

import json

import numpy as np
import pytest
import slicer
from slicer import util

import slicer_host
from SkullGANLib.ct.phantom import HeadPhantom
from SkullGANLib.errors import FormatError, InputError, SkullGANError


@pytest.fixture(scope="module")
def module():
    slicer_host.start(gui=False)
    return slicer_host.load_module("SkullGAN")


@pytest.fixture
def logic(module):
    slicer_host.reset()
    logic = module.SkullGANLogic()
    yield logic
    if logic.busy:
        logic.job.kill()


@pytest.fixture(scope="module")
def head():
    return HeadPhantom(2).render(shape=(100, 116, 96), spacing_mm=(2.0, 2.0, 2.0)).volume


def show(volume, name):
    from SkullGANSlicer import scene

    return scene.showVolume(volume, name=name)


def bounds(node):
    found = np.zeros(6)
    node.GetRASBounds(found)
    return found.reshape(3, 2)


def test_a_calvarium_lies_in_its_head_and_its_surface_map_on_it(logic, head, tmp_path):
    node = show(head, "head")
    calvarium = logic.cropCalvarium(node, spacing_mm=2.0, bone_only=True)
    assert calvarium.GetName() == "head calvarium"
    assert np.allclose(calvarium.GetSpacing(), 2.0)
    whole, part = bounds(node), bounds(calvarium)
    assert (part[:, 0] >= whole[:, 0] - 25).all()
    assert (part[:, 1] <= whole[:, 1] + 25).all()  # a margin of air may reach beyond
    assert part[2, 1] - part[2, 0] < 0.75 * (whole[2, 1] - whole[2, 0])  # the face is cut off
    assert util.arrayFromVolume(calvarium).max() > 1200
    surface = logic.surfaceMaps(calvarium, tmp_path / "maps")
    assert surface.GetClassName() == "vtkMRMLModelNode"
    data = surface.GetPolyData().GetPointData()
    assert {data.GetArrayName(at) for at in range(data.GetNumberOfArrays())} >= {"thickness_mm", "sdr", "mean_hu"}
    lies = bounds(surface)
    assert (lies[:, 0] > part[:, 0]).all()
    assert (lies[:, 1] < part[:, 1]).all()  # in RAS: in LPS it would lie on the other side of the origin
    display = surface.GetDisplayNode()
    assert (display.GetActiveScalarName(), display.GetScalarVisibility()) == ("thickness_mm", 1)
    summary = json.loads((tmp_path / "maps" / "calvaria.json").read_text())
    assert "maps.png" in {path.name for path in (tmp_path / "maps").glob("*/*")}
    assert summary


def test_a_whole_head_has_no_surface_map_and_the_library_says_why(logic, head, tmp_path):
    node = show(head, "head")
    before = slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLModelNode")  # Slicer's slices are models, too
    with pytest.raises(SkullGANError, match="calvarium"):
        logic.surfaceMaps(node, tmp_path / "maps")
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLModelNode") == before


def test_what_is_no_surface_is_refused_and_leaves_no_node(logic, tmp_path):
    from SkullGANSlicer.volume_tools import showSurface

    path = tmp_path / "skull.vtk"
    path.write_text("no surface")
    before = slicer.mrmlScene.GetNumberOfNodes()
    with pytest.raises(FormatError, match="no surface"):
        showSurface(path, {"p5": 1.0, "p95": 2.0}, name="surface")
    assert slicer.mrmlScene.GetNumberOfNodes() == before


def test_a_stack_of_the_shipped_model_comes_into_the_scene(logic, tmp_path):
    (node,) = logic.stackVolumes("phantom", slices=12, seed=3, out=tmp_path / "stack", device="cpu")
    hu = util.arrayFromVolume(node)
    assert hu.max() > 800
    assert node.GetAttribute("SkullGAN.seed") == "3"
    assert (tmp_path / "stack" / "continuity.json").is_file()


def test_the_ablation_runs_on_a_node(logic, tmp_path):
    volume = HeadPhantom(2).render(shape=(24, 28, 24), spacing_mm=(8.0, 8.0, 8.0)).volume
    small = {"smallest": 8, "largest": 8, "iterations": 1, "channels": 4}
    out = logic.ablation(
        show(volume, "head"), tmp_path / "ablation", dimensions="3", seeds=2, samples=2, device="cpu", settings=small
    )
    assert "| D " in (out / "ablation.md").read_text(encoding="utf-8")
    with pytest.raises(InputError):
        logic.ablation(None, tmp_path / "other")
