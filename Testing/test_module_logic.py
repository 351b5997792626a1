"""The module's logic on Slicer's real MRML, with real child processes."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
import slicer
import vtk

import slicer_host
from SkullGANLib import needed
from SkullGANLib.ct.phantom import HeadPhantom
from SkullGANLib.ct.volume import Volume
from SkullGANLib.errors import Cancelled, InputError, ResourceError, SkullGANError
from SkullGANLib.jobs import JobState
from SkullGANLib.segments.dataset import SegmentDataset

AXIAL = {"planes": ("axial",), "interval_mm": 6.2}


@pytest.fixture(scope="module")
def volume():
    return HeadPhantom(2).render().volume


@pytest.fixture
def head(logic, volume):
    from SkullGANSlicer import scene

    return scene.showVolume(volume, name="DOE JOHN 1970")


@pytest.fixture(scope="module")
def dataset(module, volume, tmp_path_factory):
    from SkullGANSlicer import scene

    slicer_host.reset()
    node = scene.showVolume(volume, name="head")
    return module.SkullGANLogic().prepare(node, tmp_path_factory.mktemp("sets") / "head", **AXIAL)


def polled(job, seconds=60):
    """Do what Slicer's timer does until the job has ended."""
    end = time.monotonic() + seconds
    while job.poll():
        assert time.monotonic() < end, job.log_text()
        time.sleep(0.02)
    return job


def nodes(kind):
    return [slicer.mrmlScene.GetNthNodeByClass(i, kind) for i in range(slicer.mrmlScene.GetNumberOfNodesByClass(kind))]


def test_the_module_test_passes_from_phantom_to_report(module):
    test = module.SkullGANTest()
    test.setUp()
    test.test_fromPhantomToReport()


def test_the_module_test_finds_errors_in_words(module):
    test = module.SkullGANTest()
    test.setUp()
    test.test_errorsAreInWords()


def test_prepare_puts_the_data_set_on_disk_and_into_the_scene(logic, head, tmp_path):
    dataset = logic.prepare([head], tmp_path / "set", **AXIAL)
    assert set(dataset.table["plane"]) == {"axial"}
    (table,) = nodes("vtkMRMLTableNode")
    segments = [node for node in nodes("vtkMRMLScalarVolumeNode") if node is not head]
    assert np.array_equal(slicer.util.arrayFromVolume(segments[0]), dataset.hu)
    assert table.GetNumberOfRows() == len(dataset)
    assert segments[0].GetAttribute("SkullGAN.dataSet") == str(tmp_path / "set")
    written = b"".join(path.read_bytes() for path in (tmp_path / "set").rglob("*") if path.is_file())
    assert b"DOE" not in written
    assert str(tmp_path).encode() not in written


def test_a_volume_under_a_transform_is_prepared_where_it_is_seen(logic, head, dataset, tmp_path):
    turn = vtk.vtkTransform()
    turn.Translate(40, -25, 60)
    turn.RotateZ(9)
    turn.RotateX(-6)
    parent = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    parent.SetMatrixTransformToParent(turn.GetMatrix())
    head.SetAndObserveTransformNodeID(parent.GetID())
    moved = logic.prepare(head, tmp_path / "moved", show=False, **AXIAL)
    # the same pieces of the same head: found afresh in the turned volume, so only about the same in number and place
    assert abs(len(moved) - len(dataset)) <= 0.2 * len(dataset)

    def centre(data):
        return np.mean([data.table[f"corner_{axis}"] for axis in "xyz"], axis=1) * [-1, -1, 1]  # RAS

    expected = np.array(turn.TransformPoint(centre(dataset)))
    assert np.linalg.norm(centre(moved) - expected) < 6
    assert np.linalg.norm(centre(moved) - centre(dataset)) > 40


def test_a_preview_shows_skull_squares_and_table_and_writes_no_data_set(logic, head, dataset):
    preview = logic.preview(head, **AXIAL)
    assert preview.kept == len(dataset)
    assert preview.tableNode.GetNumberOfRows() == len(preview.hu) > preview.kept
    assert preview.segmentation.GetSegmentation().GetNumberOfSegments() == 1
    assert preview.pieces.GetPolyData().GetNumberOfCells() >= len(preview.hu)
    bounds = np.zeros(6)
    preview.segmentation.GetBounds(bounds)
    assert np.all(bounds[1::2] - bounds[::2] > 90)
    placed = logic.placeSegment(3, preview)
    assert np.array_equal(slicer.util.arrayFromVolume(placed)[0], preview.hu[3])


def test_a_mask_and_a_head_frame_of_the_scene_are_used(logic, head, dataset, tmp_path):
    preview = logic.preview(head, **AXIAL)
    masked = logic.prepare(head, tmp_path / "masked", mask=preview.segmentation, show=False, **AXIAL)
    assert abs(len(masked) - len(dataset)) <= 0.25 * len(dataset)
    frame = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    lifted = vtk.vtkTransform()
    lifted.Translate(0, 0, 8)
    frame.SetMatrixTransformToParent(lifted.GetMatrix())
    framed = logic.prepare(head, tmp_path / "framed", head_frame=frame, show=False, **AXIAL)
    heights = np.unique(np.round(framed.table["corner_z"] - framed.table["position_mm"], 2))
    assert heights == pytest.approx([8], abs=0.01)  # positions count from the frame that was given
    with pytest.raises(InputError, match="one volume"):
        logic.prepare([head, head], tmp_path / "two", mask=preview.segmentation)
    with pytest.raises(InputError, match="prepared as pictures"):
        logic.prepare(head, tmp_path / "other", kind="pictures")


def test_a_scan_stored_with_a_constant_is_named_and_mended(logic, head, volume, dataset, tmp_path):
    slicer.util.updateVolumeFromArray(head, (volume.hu.astype(np.int32) + 1024).clip(0).astype(np.uint16))
    with pytest.raises(SkullGANError, match=r"If so, read it with --hu-offset -1024"):
        logic.prepare(head, tmp_path / "shifted", show=False, **AXIAL)
    mended = logic.prepare(head, tmp_path / "mended", hu_offset=-1024, show=False, **AXIAL)
    assert abs(len(mended) - len(dataset)) <= 2  # air below -1024 HU was lost in the storing
    assert np.mean(mended.table["sdr"]) == pytest.approx(np.mean(dataset.table["sdr"]), abs=0.01)


def test_a_phantom_on_disk_is_known_by_the_file_beside_it(logic, tmp_path):
    from SkullGANSlicer import scene, scene_volumes

    facts = {"format": "skullgan-phantom", "version": 1, "labels": {"brain": 1}, "heads": [{"files": ["one.nrrd"]}]}
    for name in ("phantoms", "scans"):
        (tmp_path / name).mkdir()
    (tmp_path / "phantoms" / "phantom.json").write_text(json.dumps(facts), encoding="utf-8")
    kinds = {}
    for name in ("phantoms/one.nrrd", "phantoms/mine.nrrd", "scans/one.nrrd"):
        node = scene.showVolume(Volume(np.zeros((3, 4, 5), np.int16)), name=name)
        storage = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLVolumeArchetypeStorageNode")
        storage.SetFileName(str(tmp_path / name))
        node.SetAndObserveStorageNodeID(storage.GetID())
        kinds[name] = scene_volumes.datasetKind(node)
        assert scene_volumes.datasetKind(str(tmp_path / name)) == kinds[name]
    assert kinds == {"phantoms/one.nrrd": "phantom", "phantoms/mine.nrrd": "real", "scans/one.nrrd": "real"}
    assert [scene_volumes.datasetKind(tmp_path / name) for name in ("phantoms", "scans")] == ["phantom", "real"]


def test_what_is_no_ct_is_refused_in_words_and_others_go_on(logic, head, volume, tmp_path):
    from SkullGANSlicer import scene

    hole = volume.hu.astype(np.float32)
    hole[40:44, 90:94, 90:94] = np.nan
    broken = scene.showVolume(volume.with_array(hole), name="broken")
    magnetic = scene.showVolume(volume.with_array(np.where(volume.hu > 300, 20, volume.hu // 4 + 260)), name="MR")
    for wrong, words in (
        (broken, "64 of .* hold no number"),
        (magnetic, "not look like CT"),
        (slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode"), "is no volume"),
    ):
        with pytest.raises(SkullGANError, match=words):
            logic.prepare(wrong, tmp_path / "out", **AXIAL)
    with pytest.raises(SkullGANError, match=r"1 of 2 scans are not in the data set. volume-2.nrrd: 64 of"):
        logic.prepare([head, broken], tmp_path / "out", **AXIAL)
    assert len(logic.job.value) == len(SegmentDataset.open(tmp_path / "out")) > 10


def test_a_second_job_is_refused_with_the_reason_and_cancelling_saves(logic, dataset, tmp_path):
    ended = []
    job = logic.train(dataset, tmp_path / "run", preset="demo", images=100_000, device="cpu", wait=False,
                      finished=ended.append)  # fmt: skip
    with pytest.raises(InputError, match="Train is still running"):
        logic.generate(tmp_path / "run")
    while job.progress.value < 64:
        assert job.poll(), job.log_text()
        time.sleep(0.02)
    assert job.progress.maximum == 100_000
    job.cancel()
    polled(job)
    assert (job.state, ended) == (JobState.CANCELLED, [job])
    assert logic.busy == ""
    seen = int(next(iter(sorted((tmp_path / "run" / "checkpoints").iterdir()))).name)
    assert 64 <= seen < 100_000
    values = []
    logic.started.connect(lambda job: job.progressed.connect(lambda j: values.append(j.progress.value)))
    run = logic.train(dataset, tmp_path / "run", preset="demo", images=seen + 128, device="cpu")
    assert run.statistics()[-1]["images"] >= seen + 128
    training = [value for value in values if value >= 64]  # what comes before is the reading of the data
    assert min(training) >= seen


def test_closing_the_scene_in_the_middle_of_a_job_is_safe(logic, head, tmp_path):
    job = logic.prepare(head, tmp_path / "set", wait=False, **AXIAL)
    slicer.mrmlScene.Clear(0)
    polled(job)
    assert job.state is JobState.DONE
    assert job.value is None
    assert nodes("vtkMRMLTableNode") == []
    assert len(SegmentDataset.open(tmp_path / "set")) > 10


def test_segments_come_back_from_a_volume_that_was_never_on_disk(logic, dataset, tmp_path):
    node = slicer.util.addVolumeFromArray(np.array(dataset.hu[:12]), name="from elsewhere")
    node.SetSpacing(0.45, 0.45, 1)
    with pytest.raises(InputError, match="holds no segments of SkullGAN"):  # it might be a patient's scan
        logic.evaluate(dataset, node, tmp_path / "report")
    node.SetAttribute("SkullGAN.kind", "synthetic")
    found = logic.evaluate(dataset, node, tmp_path / "report")
    assert found["segments"].GetNumberOfRows() == len(dataset) + 12
    figures = [row[0] for row in found["rows"]]
    assert "thickness (mm)" in figures
    assert len(found["plots"]) >= 3
    assert all(picture.GetImageData().GetNumberOfScalarComponents() == 3 for picture in found["pictures"])


def test_segments_changed_in_the_scene_are_exported_as_they_are_seen(logic, dataset, tmp_path):
    volume, _ = logic.show(dataset)
    assert np.load(logic.export(volume, tmp_path / "as shown.npy")).max() == dataset.hu.max()
    slicer.util.arrayFromVolume(volume)[:] = 7
    slicer.util.arrayFromVolumeModified(volume)
    assert np.unique(np.load(logic.export(volume, tmp_path / "edited.npy"))).tolist() == [7]


def test_a_scan_is_not_exported_as_segments(logic, head, tmp_path):
    with pytest.raises(InputError, match="holds no segments of SkullGAN"):
        logic.export(head, tmp_path / "scan", format="dicom")
    assert not (tmp_path / "scan").exists()


def test_a_data_set_whose_files_have_changed_is_refused(logic, dataset, tmp_path):
    import shutil

    folder = shutil.copytree(dataset.path, tmp_path / "changed")
    with open(folder / "segments.npy", "r+b") as file:
        file.seek(5000)
        file.write(b"changed by somebody")
    for use in (
        logic.show,
        lambda data: logic.export(data, tmp_path / "x.npy"),
        lambda data: logic.evaluate(data, data),
    ):
        with pytest.raises(SkullGANError, match="has changed since it was written"):
            use(folder)


@pytest.mark.parametrize(("call", "words"), [
    (lambda logic, head, out: logic.prepare(head, out, mask=head), "is no segmentation node"),
    (lambda logic, head, out: logic.prepare(head, out, head_frame=head), "is no transform node"),
    (lambda logic, head, out: logic.prepare(head, out, planes=()), "No plane or no region"),
    (lambda logic, head, out: logic.show(None), "is no data set"),
    (lambda logic, head, out: logic.export(None, out), "holds no segments"),
    (lambda logic, head, out: logic.generate(out, count=0), "not in the range"),
    (lambda logic, head, out: logic.generate(out, seed=2**70), "not in the range"),
])  # fmt: skip
def test_slips_in_the_console_are_answered_in_words(logic, head, tmp_path, call, words):
    with pytest.raises(SkullGANError, match=words):
        call(logic, head, tmp_path / "out")


def test_a_data_set_is_split_by_subject_from_the_console(logic, tmp_path):
    hu = np.zeros((8, 128, 128), np.int16)
    hu[:, 20:30] = 900
    subjects = {"subject": [f"s{k // 2}" for k in range(8)]}
    SegmentDataset.create(tmp_path / "set", hu, subjects, kind="phantom")
    split = logic.split(tmp_path / "set").table["split"]
    assert set(split) == {"train", "test"}
    assert all(split[k] == split[k + 1] for k in range(0, 8, 2))


@pytest.mark.parametrize("format", ["npy", "nrrd", "nii", "png", "dicom"])
def test_segments_are_exported_in_every_format(logic, dataset, tmp_path, format):
    volume, _ = logic.show(dataset)
    suffix = {"npy": ".npy", "nrrd": ".nrrd", "nii": ".nii.gz"}.get(format, "")
    out = logic.export(volume, tmp_path / f"out{suffix}", format=format)
    assert len(list(out.iterdir())) >= len(dataset) if out.is_dir() else out.stat().st_size > 1000


def test_ten_thousand_segments_are_shown_within_two_seconds(logic, tmp_path):
    from SkullGANSlicer import scene

    hu = np.zeros((10_000, 128, 128), np.int16)
    hu[:, 30:40] = 1200
    start = time.perf_counter()
    node = scene.showSegments(hu, 0.45, name="many")
    assert time.perf_counter() - start < 2
    assert node.GetImageData().GetDimensions() == (128, 128, 10_000)


def test_missing_packages_are_named_before_anything_starts(logic, head, tmp_path, monkeypatch):
    monkeypatch.setattr(needed, "missing", lambda **_: ["click>=8.1"])
    with pytest.raises(ResourceError, match=r"click>=8.1.*Install"):
        logic.prepare(head, tmp_path / "set")


@pytest.mark.parametrize(("options", "words"), [
    ({"preset": "paperr"}, "no preset called 'paperr'"),
    ({"settings": {"gaet": "off"}}, "Did you mean"),
    ({"device": "cuda:7"}, "no cuda device"),
])  # fmt: skip
def test_wrong_training_options_are_answered_in_the_words_of_the_command_line(logic, dataset, tmp_path, options, words):
    with pytest.raises(SkullGANError, match=words):
        logic.train(dataset, tmp_path / "run", **options)


def test_interrupting_the_console_cancels_the_job(logic, head, tmp_path, monkeypatch):
    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr(slicer.app, "processEvents", interrupt, raising=False)
    with pytest.raises(KeyboardInterrupt):
        logic.prepare(head, tmp_path / "set", **AXIAL)
    assert logic.job.cancelling
    logic.job.kill()


def test_an_estimate_tells_memory_time_and_whether_it_fits(logic, dataset):
    found = logic.estimate(dataset, preset="demo", images=5000, device="cpu")
    assert found["images"] == 5000
    assert found["fits"] is True
    assert 0.01 < found["memory_gib"] < 8
    assert found["seconds"] == pytest.approx(5000 / found["images_per_second"], rel=0.2)


def test_the_doctor_lists_families_and_presets(logic):
    found = logic.doctor()
    assert "skullgan" in {family["name"] for family in found["families"]}
    assert {"compact", "paper"} <= {preset["name"] for preset in found["presets"]}


def test_errors_of_a_cancelled_wait_are_cancelled(logic, head, tmp_path):
    job = logic.prepare(head, tmp_path / "set", wait=False, **AXIAL)
    job.kill()
    with pytest.raises(Cancelled):
        job.wait()
