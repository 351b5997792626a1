"""Many volumes into one data set: in turn, in processes, on a cluster; broken ones reported; nothing of the patient."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

from SkullGANLib.cli.main import skullgan
from SkullGANLib.cli.prepare import read_head_frame
from SkullGANLib.ct.dicom_write import write_series
from SkullGANLib.ct.io import read_volume, write_volume
from SkullGANLib.ct.phantom import HeadPhantom
from SkullGANLib.ct.volume import Volume
from SkullGANLib.errors import Cancelled, FormatError, InputError
from SkullGANLib.prepare.batch import Job, find_volumes, prepare_dataset
from SkullGANLib.prepare.run import PrepareOptions
from SkullGANLib.segments.dataset import SegmentDataset
from SkullGANLib.segments.table import read_table

OPTIONS = PrepareOptions(planes=("coronal",), regions=("parietal",), interpolation="linear")
FAST = ["--planes", "coronal", "--regions", "parietal", "--interpolation", "linear"]


@pytest.fixture(scope="module")
def scans(tmp_path_factory, coarse):
    """Two heads and, between them, a ball of water."""
    folder = tmp_path_factory.mktemp("scans")
    write_volume(coarse.volume, folder / "a.nrrd")
    z, y, x = np.mgrid[-40:40, -40:40, -40:40]
    ball = np.where(x**2 + y**2 + z**2 < 35**2, 10, -1000).astype(np.int16)
    second = HeadPhantom(4).render(shape=(90, 110, 110), spacing_mm=(2.0, 2.0, 2.0), table=False).volume
    write_volume(second, folder / "c.nii.gz")
    write_volume(Volume(ball, (2.0, 2.0, 2.0)), folder / "b.mha")
    return folder


@pytest.fixture(scope="module")
def in_turn(scans, tmp_path_factory):
    """The data set of all three, one after the other, and the outcomes."""
    out = tmp_path_factory.mktemp("in-turn") / "set"
    return prepare_dataset([Job(p) for p in find_volumes([scans])], out, OPTIONS, kind="phantom")


def same(a: SegmentDataset, b: SegmentDataset) -> bool:
    return np.array_equal(a.hu, b.hu) and a.fingerprint == b.fingerprint


def test_a_broken_volume_is_reported_and_the_others_are_used(in_turn):
    dataset, outcomes = in_turn
    assert [o.job.path.name for o in outcomes] == ["a.nrrd", "b.mha", "c.nii.gz"]
    assert [o.error is None for o in outcomes] == [True, False, True]
    assert "No closed skull vault" in str(outcomes[1].error)
    assert len(set(dataset.table["subject"])) == 2
    assert len(dataset) == sum(int(o.prepared.kept.sum()) for o in outcomes if o.prepared)


def test_the_data_set_says_how_it_was_made_and_is_whole(in_turn):
    dataset, outcomes = in_turn
    opened = SegmentDataset.open(dataset.path, verify=True)
    assert opened.hu.dtype == np.int16
    assert opened.meta.kind == "phantom"
    assert opened.meta.spacing_mm == 0.45
    assert set(opened.table["quality"]) == {"ok"}
    written = json.loads((dataset.path / "dataset.json").read_text())
    assert "coronal" in json.dumps(written)
    assert outcomes[0].prepared.source["sha256"] in json.dumps(written)


def test_every_candidate_is_listed_and_pictured(in_turn):
    dataset, outcomes = in_turn
    candidates = read_table(dataset.path / "candidates.csv")
    assert len(candidates["quality"]) == sum(len(o.prepared.hu) for o in outcomes if o.prepared)
    assert (candidates["quality"] == "ok").sum() == len(dataset)
    names = sorted(p.name for p in (dataset.path / "pictures").iterdir())
    volumes = sorted(set(candidates["volume"]))
    assert names == sorted(["kept.png", "rejected.png", *(f"where-{v}.png" for v in volumes)])
    for picture in (dataset.path / "pictures").iterdir():
        import cv2

        image = cv2.imread(str(picture))
        assert min(image.shape[:2]) > 100
        assert image.std() > 10


def test_two_processes_give_the_same_data_set(scans, in_turn, tmp_path):
    jobs = [Job(p) for p in find_volumes([scans])]
    assert same(prepare_dataset(jobs, tmp_path / "set", OPTIONS, kind="phantom", n_jobs=2)[0], in_turn[0])


def test_a_dask_cluster_gives_the_same_data_set(scans, in_turn, tmp_path):
    pytest.importorskip("distributed", reason="dask is not installed; it is in the extra 'cluster'")
    jobs = [Job(p) for p in find_volumes([scans])]
    dataset, outcomes = prepare_dataset(jobs, tmp_path / "set", OPTIONS, kind="phantom", n_jobs=2, backend="dask")
    assert same(dataset, in_turn[0])
    assert "No closed skull vault" in str(outcomes[1].error)


class StopAfter:
    """Asks to stop from the ``n``-th report on."""

    def __init__(self, n: int) -> None:
        self.left = n

    def update(self, *_, **__):
        self.left -= 1

    def cancelled(self):
        return self.left <= 0


@pytest.mark.parametrize(("names", "reports"), [(["a.nrrd"], 3), (["a.nrrd", "c.nii.gz"], 2)])
def test_stopping_leaves_no_data_set(scans, tmp_path, names, reports):
    with pytest.raises(Cancelled):
        prepare_dataset([Job(scans / n) for n in names], tmp_path / "set", OPTIONS, progress=StopAfter(reports))
    assert list(tmp_path.iterdir()) == []


def test_a_data_set_is_not_overwritten_unasked(scans, in_turn):
    before = in_turn[0].fingerprint
    with pytest.raises(InputError, match="exists already"):
        prepare_dataset([Job(scans / "a.nrrd")], in_turn[0].path, OPTIONS)
    assert SegmentDataset.open(in_turn[0].path, verify=True).fingerprint == before


def test_volumes_none_of_which_is_a_head_are_an_error(scans, tmp_path):
    with pytest.raises(InputError, match="No closed skull vault"):
        prepare_dataset([Job(scans / "b.mha")], tmp_path / "set")
    with pytest.raises(InputError, match="None of the 2 volumes"):
        prepare_dataset([Job(scans / "b.mha"), Job(scans / "b.mha")], tmp_path / "set")
    assert list(tmp_path.iterdir()) == []


def test_volumes_are_found_in_files_folders_and_series(scans, coarse, tmp_path):
    cut = Volume(coarse.volume.hu[:4, :32, :32], coarse.volume.spacing_mm)
    write_series(cut, tmp_path / "patients" / "one")
    write_series(cut, tmp_path / "patients" / "two" / "series")
    (tmp_path / "files").mkdir()
    for name in ("x.nrrd", "x-labels.nrrd", "x.seg.nrrd"):
        write_volume(cut, tmp_path / "files" / name)
    assert find_volumes([tmp_path / "patients" / "one"]) == [tmp_path / "patients" / "one"]
    found = find_volumes([tmp_path / "patients", tmp_path / "files", scans / "a.nrrd"])
    assert [str(p.relative_to(tmp_path)) for p in found[:-1]] == ["patients/one", "patients/two/series", "files/x.nrrd"]
    assert found[-1] == scans / "a.nrrd"


def test_a_path_without_volumes_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    for path, words in ((tmp_path / "nowhere", "does not exist"), (tmp_path / "empty", "No CT volume")):
        with pytest.raises(InputError, match=words):
            find_volumes([path])


def run(*arguments):
    return CliRunner().invoke(skullgan, ["prepare", *map(str, arguments)])


def test_the_command_takes_pseudonyms_from_a_table_and_writes_the_mask(scans, coarse, tmp_path):
    (tmp_path / "who.csv").write_text(f"path,subject\n{scans / 'a.nrrd'},patient-7\n")
    out, mask = tmp_path / "set", tmp_path / "vault.nrrd"
    result = run(
        scans / "a.nrrd", "--out", out, "--subjects", tmp_path / "who.csv", "--save-mask", mask, "--events", *FAST
    )
    assert result.exit_code == 0, result.output
    dataset = SegmentDataset.open(out, verify=True)
    assert set(dataset.table["subject"]) == {"patient-7"}
    assert f"{len(dataset)} segments in" in result.output
    events = [json.loads(line.split(" ", 1)[1]) for line in result.output.splitlines() if line.startswith("@SKULLGAN")]
    made = next(event["result"] for event in events if "result" in event)
    assert (made["dataset"], made["segments"], made["pictures"]) == (str(out), len(dataset), str(out / "pictures"))
    assert made["failed"] == []
    assert events[-1] == {"exit_code": 0, "success": True}
    labels = read_volume(mask, labels=True)
    assert np.array_equal(labels.hu > 0, coarse.mask)


@pytest.mark.slow
def test_the_command_takes_the_mask_that_it_wrote(scans, tmp_path):
    first = run(scans / "a.nrrd", "--out", tmp_path / "set", "--save-mask", tmp_path / "vault.nrrd", *FAST)
    again = run(scans / "a.nrrd", "--out", tmp_path / "again", "--mask", tmp_path / "vault.nrrd", *FAST)
    assert (first.exit_code, again.exit_code) == (0, 0), first.output + again.output
    counts = [len(SegmentDataset.open(tmp_path / name)) for name in ("set", "again")]
    assert counts[1] == pytest.approx(counts[0], rel=0.2)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--regions", "jaw"], "--regions"),
        (["--planes", "axial,oblique"], "--planes"),
        (["--interval-mm", "0"], "--interval-mm"),
        (["--min-region-share", "0.2"], "--min-region-share"),
        (["--subject", "x"], "for one scan, and 3 were found"),
        (["--subjects", "who.csv"], "no columns path and subject"),
        (["--head-frame", "frame.txt"], "for one scan"),
    ],
)
def test_wrong_options_are_explained(scans, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "who.csv").write_text("file;name\na;b\n")
    result = run(scans, "--out", tmp_path / "set", *arguments)
    assert result.exit_code == 1
    assert words in result.output
    assert "Traceback" not in result.output
    assert not (tmp_path / "set").exists()


def test_a_mask_of_another_grid_is_refused(scans, tmp_path):
    write_volume(read_volume(scans / "c.nii.gz"), tmp_path / "other.nrrd")
    result = run(scans / "a.nrrd", "--out", tmp_path / "set", "--mask", tmp_path / "other.nrrd")
    assert result.exit_code == 1
    assert "does not lie on the scan's grid" in result.output


def rigid_matrix():
    from scipy.spatial.transform import Rotation

    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", (10, -20, 30), degrees=True).as_matrix()
    matrix[:3, 3] = (5, -6, 700)
    return matrix


@pytest.mark.parametrize("ending", ["tfm", "h5", "txt"])
def test_a_head_frame_is_read_as_slicer_saves_it(tmp_path, ending):
    import SimpleITK as sitk

    path, matrix = tmp_path / f"frame.{ending}", rigid_matrix()
    if ending == "txt":
        np.savetxt(path, matrix)
    else:
        # A transform node's matrix goes from its own space to the world; its file holds the way back.
        stored = np.linalg.inv(matrix)
        transform = sitk.AffineTransform(3)
        transform.SetMatrix(stored[:3, :3].ravel())
        transform.SetTranslation(stored[:3, 3])
        sitk.WriteTransform(transform, str(path))
    assert np.allclose(read_head_frame(path), matrix, atol=1e-6)


def test_a_head_frame_that_is_not_rigid_is_refused(tmp_path):
    stretched, mirrored = np.diag([1.1, 1, 1, 1]), np.diag([-1.0, 1, 1, 1])
    for matrix in (stretched, mirrored):
        np.savetxt(tmp_path / "frame.txt", matrix)
        with pytest.raises(FormatError, match="not a rigid transform"):
            read_head_frame(tmp_path / "frame.txt")
    (tmp_path / "frame.txt").write_text("1 2 3\n")
    with pytest.raises(FormatError, match="16 numbers"):
        read_head_frame(tmp_path / "frame.txt")
    (tmp_path / "frame.tfm").write_text("nothing\n")
    with pytest.raises(FormatError, match="not a transform"):
        read_head_frame(tmp_path / "frame.tfm")
