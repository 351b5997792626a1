"""Outer table, diploe and inner table of drawn bone, of the phantom's segments and of its head; what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import VAULT
from scipy import ndimage

from SkullGANLib.cli.main import skullgan
from SkullGANLib.ct.io import read_volume, write_volume
from SkullGANLib.ct.phantom import LABELS
from SkullGANLib.ct.volume import Volume
from SkullGANLib.errors import InputError
from SkullGANLib.prepare.batch import Job, prepare_dataset
from SkullGANLib.prepare.layers import HEAD_LABELS, add_layers, head_labels, segment_layers, true_head_labels
from SkullGANLib.prepare.layers_files import label_volumes_ml, write_labels
from SkullGANLib.prepare.run import PrepareOptions
from SkullGANLib.segments.dataset import SegmentDataset

PIXEL_MM, FINE = 0.45, 5


def drawn(
    outer_mm=1.6, diploe_mm=3.0, inner_mm=1.3, tables_hu=1700.0, diploe_hu=800.0, radius_mm=70.0, blur_mm=0.55
) -> tuple[np.ndarray, np.ndarray]:
    """A blurred arc of three layers cut from soft tissue, (1, 128, 128) HU, and its true layers."""
    at = (np.arange(128 * FINE) + 0.5) / FINE * PIXEL_MM
    y, x = np.meshgrid(at, at, indexing="ij")
    middle = 128 / 2 * PIXEL_MM
    depth = radius_mm - np.hypot(x - middle, y - 10.5 * PIXEL_MM - radius_mm)
    ends = np.cumsum([0, outer_mm, diploe_mm, inner_mm])
    hu = np.select(
        [depth < 0, depth < ends[1], depth < ends[2], depth < ends[3]], [40, tables_hu, diploe_hu, tables_hu], 20
    )
    seen = ndimage.gaussian_filter(hu.astype(float), blur_mm / PIXEL_MM * FINE)
    centre = slice(FINE // 2, None, FINE)
    depth, seen = depth[centre, centre], seen[centre, centre]
    layers = np.select([depth < 0, depth < ends[1], depth < ends[2], depth < ends[3]], [0, 1, 2, 3], 0)
    return np.where(layers > 0, np.rint(seen), 0).astype(np.int16)[None], layers.astype(np.uint8)[None]


def dice(found: np.ndarray, truth: np.ndarray, value: int) -> float:
    return 2 * ((found == value) & (truth == value)).sum() / ((found == value).sum() + (truth == value).sum())


@pytest.mark.parametrize("radius_mm", [45.0, 70.0, 2000.0])
@pytest.mark.parametrize("shape", [{}, {"outer_mm": 2.2, "inner_mm": 1.8}, {"diploe_mm": 6.0}, {"diploe_hu": 1250.0}])
def test_drawn_layers_are_found_where_they_were_drawn(shape, radius_mm):
    hu, truth = drawn(**shape, radius_mm=radius_mm)
    found = segment_layers(hu)
    arc_mm = 2 * radius_mm * np.arcsin(64 * PIXEL_MM / radius_mm)
    for value in (1, 2, 3):
        assert dice(found, truth, value) > 0.935
        error_mm = (float((found == value).sum()) - (truth == value).sum()) * PIXEL_MM**2 / arc_mm
        assert abs(error_mm) < 0.25  # half a pixel, where all columns round alike


def test_tables_of_another_pixel_size_are_as_thick_in_mm():
    hu, truth = drawn()
    twice = segment_layers(hu, 2 * PIXEL_MM)  # the same pixels as a bone twice as thick, sharper for its size
    for value in (1, 3):
        assert dice(twice, truth, value) > 0.85


@pytest.mark.parametrize("thickness_mm", [2.2, 5.0])
def test_uniform_bone_has_no_diploe_and_is_halved(thickness_mm):
    third = thickness_mm / 3
    hu, truth = drawn(third, third, third, diploe_hu=1700.0)
    found = segment_layers(hu)
    assert not (found == 2).any()
    assert ((found > 0) == (truth > 0)).all()
    assert (found == 1).sum() == pytest.approx((found == 3).sum(), rel=0.08)


def test_layers_lie_in_their_order_in_every_column():
    found = segment_layers(drawn()[0])[0].astype(int)
    for column in found.T:
        assert (np.diff(column[column > 0]) >= 0).all()
        assert set(column) == {0, 1, 2, 3}


def test_a_mirrored_segment_has_mirrored_layers(upright):
    hu = upright.prepared.hu[upright.prepared.kept][:20]
    there, mirrored = segment_layers(hu), segment_layers(hu[:, :, ::-1])[:, :, ::-1]
    assert (there != mirrored).mean() < 1e-4


def test_noise_of_a_generated_background_changes_nothing():
    hu, _ = drawn()
    noise = np.random.default_rng(0).normal(0, 8, hu.shape).astype(np.float32)
    assert (segment_layers(hu + noise) == segment_layers(hu)).mean() > 0.999


def test_segments_without_bone_have_no_layers():
    assert not segment_layers(np.zeros((2, 128, 128), np.int16)).any()
    assert not segment_layers(np.random.default_rng(0).normal(0, 8, (2, 64, 64)).astype(np.float32)).any()


@pytest.mark.parametrize(
    ("hu", "words"),
    [
        (np.full((2, 128, 128), np.nan, np.float32), "not finite"),
        (np.full((2, 128, 128), 400, np.int16), "no skull segments"),
        (np.zeros((128, 128), np.int16), "shape"),
        (np.zeros((0, 128, 128), np.int16), "no segments"),
    ],
    ids=["nan", "all over", "one image", "none"],
)
def test_what_is_no_segment_is_refused(hu, words):
    with pytest.raises(InputError, match=words):
        segment_layers(hu)


def exact_layers(trial, kept: np.ndarray) -> np.ndarray:
    """Layers by the phantom's formula at the pixels of segments; beyond a surface the table next to it counts."""
    prepared, back = trial.prepared, np.linalg.inv(trial.head.head_to_lps)
    layers = np.zeros((len(kept), 128, 128), np.uint8)
    for truth, i in zip(layers, kept, strict=True):
        bone = prepared.hu[i] > 0
        points = prepared.skull.frame.to_lps(prepared.placements[i].points()[bone].astype(float))
        depth = trial.phantom.shell.depth(*(points @ back[:3, :3].T + back[:3, 3]).T.astype(np.float32))
        foot = trial.phantom.shell.at_foot(depth)
        inner = depth.mm > foot.thickness_mm - foot.inner_mm
        truth[bone] = np.where(depth.mm < foot.outer_mm, 1, np.where(inner, 3, 2))
    return layers


def test_the_phantoms_segments_are_layered_as_its_formula_says(upright):
    kept = np.flatnonzero(upright.prepared.kept)
    truth, found = exact_layers(upright, kept), upright.prepared.masks[kept]
    assert min(dice(found, truth, value) for value in (1, 2, 3)) >= 0.9


def test_every_pixel_of_bone_has_a_layer_and_no_other_pixel(upright):
    assert ((upright.prepared.masks > 0) == (upright.prepared.hu > 0)).all()


@pytest.fixture(scope="module")
def labelled(upright):
    return head_labels(upright.volume, skull=upright.prepared.skull), true_head_labels(upright.head)


def test_the_head_is_labelled_as_the_phantom_is(labelled, upright):
    found, truth = labelled
    assert found.hu.dtype == np.uint8
    assert found.notes == ()
    assert np.array_equal(found.index_to_lps, upright.volume.index_to_lps)
    least = {"outer table": 0.88, "diploe": 0.88, "inner table": 0.8, "brain": 0.97, "scalp": 0.94, "other bone": 0.8}
    for value, name in HEAD_LABELS.items():
        assert dice(found.hu, truth.hu, value) > least.get(name, 0.99), name
    both = np.isin(found.hu, (1, 2, 3)) & np.isin(truth.hu, (1, 2, 3))
    assert min(dice(found.hu[both], truth.hu[both], value) for value in (1, 2, 3)) >= 0.9
    assert (found.hu[upright.labels == LABELS["table"]] == 0).mean() > 0.999


def test_the_true_labels_keep_the_vault_and_give_sutures_to_the_bone_beside(labelled, upright):
    truth, was = labelled[1].hu, upright.labels
    suture = was == LABELS["suture"]
    assert suture.sum() > 1000
    assert np.array_equal(np.isin(truth, (1, 2, 3)), np.isin(was, VAULT))
    assert set(np.unique(truth[suture])) == {1, 2, 3}
    # A suture winds from surface to surface, so its voxels fall to the layers about as those of the vault do.
    shares = [[(truth[where] == value).mean() for value in (1, 2, 3)] for where in (suture, np.isin(was, VAULT))]
    assert np.abs(np.subtract(*shares)).max() < 0.15
    for name, value in (("csf", 4), ("brain", 4), ("soft_tissue", 5), ("teeth", 6), ("sinus", 0), ("table", 0)):
        assert (truth[was == LABELS[name]] == value).all()


def test_an_empty_skull_is_said_to_be_empty(upright):
    dry = upright.volume.with_array(np.where(upright.volume.hu > 300, upright.volume.hu, np.int16(-1000)))
    found = head_labels(dry)
    assert any("empty" in note for note in found.notes)
    assert (found.hu == 4).sum() < 0.05 * (true_head_labels(upright.head).hu == 4).sum()
    vault = np.isin(found.hu, (1, 2, 3))
    truth = np.isin(upright.labels, VAULT)
    assert 2 * (vault & truth).sum() / (vault.sum() + truth.sum()) > 0.9


def test_a_volume_without_a_skull_is_refused():
    z, y, x = np.mgrid[-40:40, -40:40, -40:40]
    ball = np.where(x**2 + y**2 + z**2 < 35**2, 10, -1000).astype(np.int16)
    with pytest.raises(InputError, match="No closed skull vault"):
        head_labels(Volume(ball, (2.0, 2.0, 2.0)))


def test_values_that_are_no_hounsfield_units_are_refused(coarse):
    mr = np.clip(coarse.volume.hu + 1000, 0, 400).astype(np.int16)
    with pytest.raises(InputError, match="Hounsfield"):
        head_labels(Volume(mr, coarse.volume.spacing_mm))
    broken = coarse.volume.hu.astype(np.float32)
    broken[5, 5, 5] = np.nan
    with pytest.raises(InputError, match="no number"):
        head_labels(coarse.volume.with_array(broken))


@pytest.fixture(scope="module")
def dataset(coarse, tmp_path_factory):
    """Segments of one head, as ``prepare`` writes them."""
    folder = tmp_path_factory.mktemp("layers")
    scan = write_volume(coarse.volume, folder / "head.nrrd")
    options = PrepareOptions(planes=("coronal",), regions=("parietal",), interpolation="linear")
    return prepare_dataset([Job(scan)], folder / "set", options, kind="phantom")[0]


def test_prepare_writes_the_layers_of_every_segment(dataset):
    assert dataset.masks.shape == dataset.hu.shape
    assert dataset.labels() == {1: "outer table", 2: "diploe", 3: "inner table"}
    assert np.array_equal(dataset.masks, segment_layers(dataset.hu))


def test_layers_are_added_to_a_data_set_that_has_none(dataset, tmp_path):
    marks = (np.asarray(dataset.hu) > 1000).astype(np.uint8)
    names = {"marks": {1: "dense"}}
    bare = SegmentDataset.create(
        tmp_path / "set", dataset.hu, dataset.table, kind="phantom", masks={"marks": marks}, labels=names
    )
    (tmp_path / "set" / "notes.txt").write_text("mine")
    before = bare.fingerprint
    add_layers(bare)
    opened = SegmentDataset.open(tmp_path / "set", verify=True)
    assert np.array_equal(opened.masks, dataset.masks)
    assert np.array_equal(opened.label_sets["marks"], marks)
    assert opened.labels("marks") == names["marks"]
    assert opened.fingerprint == before
    assert (tmp_path / "set" / "notes.txt").read_text() == "mine"


def test_slicer_reads_the_segmentation_with_names_and_place(labelled, tmp_path):
    slicer = pytest.importorskip("slicer")
    labels = labelled[0].part((60, 40, 30), (90, 160, 150))
    path = write_labels(labels, tmp_path / "head.seg.nrrd")
    scene = slicer.vtkMRMLScene()
    node, storage = slicer.vtkMRMLSegmentationNode(), slicer.vtkMRMLSegmentationStorageNode()
    scene.AddNode(node)
    scene.AddNode(storage)
    storage.SetFileName(str(path))
    assert storage.ReadData(node)
    there = [value for value in range(1, 7) if (labels.hu == value).any()]
    segmentation = node.GetSegmentation()
    segments = [segmentation.GetNthSegment(k) for k in range(segmentation.GetNumberOfSegments())]
    assert [s.GetName() for s in segments] == [HEAD_LABELS[value] for value in there]
    assert [s.GetLabelValue() for s in segments] == there
    assert len({s.GetColor() for s in segments}) == len(there)
    bounds = [0.0] * 6
    node.GetRASBounds(bounds)
    index = np.argwhere(labels.hu > 0)
    corners = labels.zyx_to_lps(np.array([index.min(0) - 0.5, index.max(0) + 0.5])) * (-1, -1, 1)
    assert np.sort(corners, axis=0).T.ravel() == pytest.approx(bounds, abs=1.01)


def test_a_label_map_comes_back_as_it_was_written(labelled, tmp_path):
    for name in ("head.nrrd", "head.nii.gz", "head.seg.nrrd"):
        again = read_volume(write_labels(labelled[0], tmp_path / name), labels=True)
        assert np.array_equal(again.hu, labelled[0].hu)
        assert np.allclose(again.index_to_lps, labelled[0].index_to_lps, atol=1e-4)


def test_volumes_are_told_in_ml():
    labels = np.zeros((10, 10, 10), np.uint8)
    labels[:5] = 4
    told = label_volumes_ml(Volume(labels, (1.0, 2.0, 3.0)))
    assert told["brain"] == 3.0
    assert told["scalp"] == 0.0
    assert "air" not in told


def test_the_command_writes_labels_and_tells_volumes(coarse, tmp_path):
    scan, out = write_volume(coarse.volume, tmp_path / "head.nrrd"), tmp_path / "labels.seg.nrrd"
    arguments = ["volume", "labels", str(scan), "--out", str(out)]
    done = CliRunner().invoke(skullgan, arguments)
    assert done.exit_code == 0, done.output
    found = read_volume(out, labels=True)
    truth = true_head_labels(coarse.head).hu
    assert min(dice(found.hu, truth, value) for value in (0, 4, 5)) > 0.9
    for name, ml in label_volumes_ml(found).items():
        assert any(line.startswith(name) and f"{ml:.1f} ml" in line for line in done.output.splitlines())
    again = CliRunner().invoke(skullgan, arguments)
    assert again.exit_code == 1
    assert "exists already" in again.output
    other = CliRunner().invoke(skullgan, [*arguments[:-1], str(tmp_path / "labels.png")])
    assert other.exit_code == 1
    assert "cannot be written" in other.output
