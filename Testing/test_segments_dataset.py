import hashlib
import json
import time

import numpy as np
import pytest

from SkullGANLib.errors import FormatError, InputError
from SkullGANLib.segments import class_names
from SkullGANLib.segments.dataset import SegmentDataset
from SkullGANLib.segments.merge import merge
from SkullGANLib.segments.reduce import reduce

RNG = np.random.default_rng(0)


def some_hu(n, dtype=np.int16, size=32):
    return RNG.integers(0, 2700, (n, size, size)).astype(dtype)


def make(path, n=6, hu=None, **options):
    table = {
        "subject": [f"subject-{i // 2:03d}" for i in range(n)],
        "region": ["temporal" if i % 2 else "parietal" for i in range(n)],
        "side": ["left" if i < n // 2 else "right" for i in range(n)],
        "class_label": np.arange(n),
    }
    return SegmentDataset.create(path, some_hu(n) if hu is None else hu, table, **{"kind": "real", **options})


def edit_meta(path, **changes):
    content = json.loads((path / "dataset.json").read_text())
    (path / "dataset.json").write_text(json.dumps({**content, **changes}))


@pytest.mark.parametrize(("given", "kept"), [("int16", "int16"), ("float32", "float32"), ("float64", "float32")])
def test_a_set_comes_back_as_it_was_written(tmp_path, given, kept):
    hu, masks = some_hu(6, given, 128), RNG.integers(0, 4, (6, 128, 128)).astype(np.uint8)
    source = {"name": "s-1a2b3c4d", "sha256": "0" * 64, "kernel": "BONEPLUS"}
    with pytest.raises(InputError, match='"name"'):
        make(tmp_path / "set", hu=hu, sources=[source])
    source = {"pseudonym": "s-1a2b3c4d", "sha256": "0" * 64, "kernel": "BONEPLUS"}
    make(tmp_path / "set", hu=hu, masks={"tissues": masks, "sutures": masks > 2}, sources=[source], seed=4)
    back = SegmentDataset.open(tmp_path / "set", verify=True)
    assert back.hu.dtype == kept
    assert isinstance(back.hu, np.memmap)
    np.testing.assert_array_equal(back.hu, hu)
    np.testing.assert_array_equal(back.masks, masks)
    np.testing.assert_array_equal(back.label_sets["sutures"], masks > 2)
    assert back.meta.sources == [source]
    assert (back.meta.kind, back.meta.seed, back.meta.counts) == ("real", 4, {"segments": 6, "subjects": 3})
    assert back.table["class_label"].tolist() == list(range(6))


def test_the_hash_of_the_array_is_that_of_its_file(tmp_path):
    made = make(tmp_path / "set")
    expected = hashlib.sha256((tmp_path / "set" / "segments.npy").read_bytes()).hexdigest()
    assert made.meta.sha256["segments.npy"] == expected


def test_values_that_are_not_finite_are_counted_and_refused(tmp_path):
    hu = some_hu(6, np.float32)
    hu[1, 2, :3] = np.nan
    hu[4, 0, 0] = np.inf
    with pytest.raises(InputError, match="4 values in 2 segments"):
        make(tmp_path / "set", hu=hu)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shape", [(0, 128, 128), (2, 128, 64), (2, 1, 128, 128), (2, 16, 16), (2, 600, 600)])
def test_other_shapes_are_refused(tmp_path, shape):
    with pytest.raises(InputError, match=r"shape|no segments"):
        SegmentDataset.create(tmp_path / "set", np.zeros(shape, np.int16), None, kind="real")


@pytest.mark.parametrize(
    ("options", "words"),
    [({"kind": "fake"}, "kind"), ({"spacing_mm": 0}, "spacing_mm"), ({"spacing_mm": float("nan")}, "spacing_mm")],
)
def test_impossible_facts_are_named(tmp_path, options, words):
    with pytest.raises(InputError, match=words):
        make(tmp_path / "set", **options)


def test_masks_of_another_shape_are_refused(tmp_path):
    with pytest.raises(InputError, match="label set tissues"):
        make(tmp_path / "set", masks=np.zeros((5, 32, 32), np.uint8))


@pytest.mark.parametrize(
    "name", ["PatientName", "patient_id", "birth date", "StudyInstanceUID", "AccessionNumber", "file path"]
)
def test_columns_named_like_patient_fields_are_refused(tmp_path, name):
    with pytest.raises(InputError, match=name):
        SegmentDataset.create(tmp_path / "set", some_hu(1), {name: ["x"]}, kind="real")


@pytest.mark.parametrize("name", ["pathology", "fluid", "stage", "image_scale", "class_name"])
def test_columns_that_only_sound_alike_are_kept(tmp_path, name):
    assert name in SegmentDataset.create(tmp_path / "set", some_hu(1), {name: ["x"]}, kind="real").table


@pytest.mark.parametrize("subject", ["Doe^John", "John Doe", "19541231", "1.2.840.113619.2", "1954-12-31", "/home/doe"])
def test_subjects_that_are_no_pseudonyms_are_refused(tmp_path, subject):
    with pytest.raises(InputError, match=r"pseudonym|path"):
        SegmentDataset.create(tmp_path / "set", some_hu(1), {"subject": [subject]}, kind="real")


@pytest.mark.parametrize("source", ["/data/doe/scan.nrrd", "C:\\scans\\doe.nrrd", {"file": "scans/doe.nrrd"}, "DOE^J"])
def test_paths_and_names_are_refused_as_sources(tmp_path, source):
    with pytest.raises(InputError, match="path or a name"):
        make(tmp_path / "set", sources=[source])


def test_a_truncated_array_is_refused(tmp_path):
    make(tmp_path / "set")
    file = tmp_path / "set" / "segments.npy"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(FormatError, match="cut short"):
        SegmentDataset.open(tmp_path / "set")


def test_one_changed_byte_is_found_by_verify(tmp_path):
    make(tmp_path / "set")
    file = tmp_path / "set" / "segments.npy"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    found = SegmentDataset.open(tmp_path / "set")
    with pytest.raises(FormatError, match=r"segments\.npy has changed"):
        found.verify()


def test_pickled_objects_are_refused_unread(tmp_path):
    make(tmp_path / "set")
    np.save(tmp_path / "set" / "segments.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(FormatError, match=r"not a \.npy array"):
        SegmentDataset.open(tmp_path / "set")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"version": 2}, "newer SkullGAN"),
        ({"format": "other"}, "not of a SkullGAN data set"),
        ({"kind": "fake"}, "kind"),
        ({"counts": {"segments": 7, "subjects": 3}}, r"holds int16 \(6, 32, 32\)"),
        ({"sha256": {}}, "does not name"),
        ({"novelty": 1}, "novelty"),
    ],
)
def test_wrong_facts_are_refused_in_words(tmp_path, changes, words):
    make(tmp_path / "set")
    edit_meta(tmp_path / "set", **changes)
    with pytest.raises(FormatError, match=words):
        SegmentDataset.open(tmp_path / "set")


@pytest.mark.parametrize("name", ["segments.npy", "segments.csv", "dataset.json", "masks.npy"])
def test_a_missing_file_is_named(tmp_path, name):
    make(tmp_path / "set", masks=np.ones((6, 32, 32), np.uint8))
    (tmp_path / "set" / name).unlink()
    with pytest.raises(FormatError, match=name):
        SegmentDataset.open(tmp_path / "set")


def test_a_table_of_another_length_is_refused(tmp_path):
    make(tmp_path / "set")
    table = tmp_path / "set" / "segments.csv"
    table.write_text("".join(table.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(FormatError, match="5 rows for 6 segments"):
        SegmentDataset.open(tmp_path / "set")


def test_append_adds_at_the_end_and_keeps_files_of_the_user(tmp_path):
    made = make(tmp_path / "set", sources=["s-1"])
    (tmp_path / "set" / "notes.txt").write_text("mine")
    before, more = np.array(made.hu), some_hu(2, np.float32)
    fingerprint = made.fingerprint
    made.append(more, {"subject": ["subject-009"] * 2}, sources=["s-1", "s-2"])
    back = SegmentDataset.open(tmp_path / "set", verify=True)
    np.testing.assert_array_equal(back.hu, np.concatenate([before, more]))
    assert back.hu.dtype == np.float32
    assert back.meta.counts == {"segments": 8, "subjects": 4}
    assert back.meta.sources == ["s-1", "s-2"]
    assert (tmp_path / "set" / "notes.txt").read_text() == "mine"
    assert made.fingerprint == back.fingerprint != fingerprint


def test_append_refuses_a_set_that_changed_meanwhile(tmp_path):
    mine = make(tmp_path / "set")
    SegmentDataset.open(tmp_path / "set").append(some_hu(1), None)
    with pytest.raises(InputError, match="changed by another program"):
        mine.append(some_hu(1), None)
    assert len(SegmentDataset.open(tmp_path / "set")) == 7


def test_append_wants_masks_where_the_set_has_them(tmp_path):
    made = make(tmp_path / "set", masks=np.ones((6, 32, 32), np.uint8))
    with pytest.raises(InputError, match="label sets"):
        made.append(some_hu(1), None)


def test_filter_takes_a_value_or_a_list(tmp_path):
    made = make(tmp_path / "set")
    assert made.filter(region="temporal").tolist() == [1, 3, 5]
    assert made.filter(region="temporal", side="left").tolist() == [1]
    assert made.filter(class_label=[0, 4]).tolist() == [0, 4]
    assert made.filter(plane="axial").tolist() == []
    assert made.filter(region=None).tolist() == list(range(6))
    with pytest.raises(InputError, match="regoin") as error:
        made.filter(regoin="temporal")
    assert "region" in error.value.advice


def test_a_selection_lives_in_memory_or_on_disk(tmp_path):
    made = make(tmp_path / "set")
    kept = made.select([4, 1])
    np.testing.assert_array_equal(kept.hu, made.hu[[4, 1]])
    assert kept.table["index"].tolist() == [0, 1]
    assert kept.table["class_label"].tolist() == [4, 1]
    written = made.select(made.table["side"] == "right", tmp_path / "right")
    assert len(SegmentDataset.open(tmp_path / "right", verify=True)) == 3
    assert made.select([3, 4, 5]).fingerprint == written.fingerprint
    for wrong in ([], [6], [-1], [0.5]):
        with pytest.raises(InputError, match="select"):
            made.select(wrong)


def test_splitting_writes_the_column_and_leaves_the_array(tmp_path):
    made = make(tmp_path / "set")
    inode = (tmp_path / "set" / "segments.npy").stat().st_ino
    counts = made.split({"train": 2 / 3, "test": 1 / 3})
    back = SegmentDataset.open(tmp_path / "set", verify=True)
    assert counts == {"train": 4, "test": 2}
    assert back.meta.extra["split"]["by"] == "subject"
    assert {name: len(back.filter(split=name)) for name in counts} == counts
    assert (tmp_path / "set" / "segments.npy").stat().st_ino == inode
    with pytest.raises(InputError, match="no way to split"):
        made.split(by="coin")


def test_merging_keeps_order_sources_and_shared_masks(tmp_path):
    ones = np.ones((6, 32, 32), np.uint8)
    one = make(tmp_path / "one", masks={"tissues": ones, "sutures": ones}, sources=["s-1"], seed=1)
    other = make(tmp_path / "other", hu=some_hu(6, np.float32), masks=2 * ones, sources=["s-1", "s-2"], seed=2)
    with pytest.warns(UserWarning, match="left out: sutures"):
        both = merge([one, other], tmp_path / "both").verify()
    np.testing.assert_array_equal(both.hu, np.concatenate([one.hu, other.hu]))
    np.testing.assert_array_equal(both.masks, np.concatenate([ones, 2 * ones]))
    assert list(both.label_sets) == ["tissues"]
    assert both.meta.sources == ["s-1", "s-2"]
    assert both.meta.seed is None
    assert both.meta.counts == {"segments": 12, "subjects": 3}


def test_what_merging_makes_odd_is_said(tmp_path):
    one = make(tmp_path / "one")
    class_names.classes_by(one, ["side"])
    with pytest.warns(UserWarning, match="given twice"):
        merge([one, one], tmp_path / "twice")
    with pytest.warns(UserWarning, match="6 segments are of sets without classes"):
        merge([one, make(tmp_path / "other", hu=some_hu(6, np.float32))], tmp_path / "both")


def test_label_maps_numbered_in_another_order_mean_the_same(tmp_path):
    ones = np.ones((6, 32, 32), np.uint8)
    names = {1: "bone", 2: "brain"}
    one = make(tmp_path / "one", masks={"parts": ones}, labels={"parts": names})
    other = make(tmp_path / "other", masks={"parts": ones}, labels={"parts": dict(reversed(names.items()))})
    assert merge([one, other], tmp_path / "both").labels("parts") == names


def test_merging_sets_that_differ_is_refused(tmp_path):
    one, other = make(tmp_path / "one"), make(tmp_path / "other", spacing_mm=0.5)
    with pytest.raises(InputError, match=r"spacing_mm: 0\.45, 0\.5"):
        merge([one, other], tmp_path / "both")
    phantom = make(tmp_path / "phantom", kind="phantom")
    with pytest.raises(InputError, match="kind: real, phantom"):
        merge([one, phantom], tmp_path / "both")
    assert merge([one, phantom], tmp_path / "both", kind="phantom").meta.kind == "phantom"


def test_five_thousand_segments_are_written_opened_and_verified_in_two_seconds(tmp_path):
    hu = np.zeros((5000, 128, 128), np.int16)
    start = time.process_time()
    made = SegmentDataset.create(tmp_path / "set", hu, {"subject": [f"s-{i % 38}" for i in range(5000)]}, kind="real")
    SegmentDataset.open(made.path).verify()
    assert time.process_time() - start < 2


def test_labels_have_names_that_stay_with_the_set(tmp_path):
    masks = np.zeros((2, 32, 32), np.uint8)
    masks[0, 2], masks[1, 3] = 1, 7
    given = {"hu": np.zeros((2, 32, 32), np.int16), "table": None, "kind": "phantom"}
    named = {"organ": {1: "aorta", 2: "left atrium"}}
    made = SegmentDataset.create(tmp_path / "a", masks={"organ": masks, "tissues": masks}, labels=named, **given)
    assert made.labels("organ") == {1: "aorta", 2: "left atrium", 7: "label 7"}
    assert made.labels() == {1: "outer table", 2: "diploe", 3: "inner table", 7: "label 7"}
    assert made.select([1], tmp_path / "b").labels("organ") == made.labels("organ")
    both = merge([made, SegmentDataset.open(tmp_path / "b")], tmp_path / "c")
    assert both.labels("organ") == made.labels("organ")
    with pytest.raises(InputError, match="no label set heart; it has: organ, tissues"):
        made.labels("heart")
    other = SegmentDataset.create(tmp_path / "d", masks={"organ": masks}, labels={"organ": {1: "vein"}}, **given)
    with pytest.raises(InputError, match="organ do not mean the same"):
        merge([made, other], tmp_path / "e")


def test_a_label_set_is_added_and_replaced_and_the_rest_stays(tmp_path):
    hu = np.random.default_rng(0).integers(0, 2000, (3, 32, 32)).astype(np.int16)
    made = SegmentDataset.create(tmp_path / "a", hu, None, kind="phantom", masks=np.ones((3, 32, 32), np.uint8))
    before = made.fingerprint
    made.add_labels("organ", np.full((3, 32, 32), 2, np.uint8), {2: "aorta"})
    made.add_labels("tissues", np.full((3, 32, 32), 3, np.uint8))
    opened = SegmentDataset.open(tmp_path / "a", verify=True)
    assert opened.fingerprint == before
    assert np.array_equal(opened.hu, hu)
    assert (opened.label_sets["organ"] == 2).all()
    assert (opened.masks == 3).all()
    assert opened.labels("organ") == {2: "aorta"}
    with pytest.raises(InputError):
        opened.add_labels("organ", np.zeros((2, 32, 32), np.uint8))


def test_a_reduced_set_holds_means_over_squares_and_the_label_in_their_middle(tmp_path):
    hu = (np.arange(2 * 128 * 128).reshape(2, 128, 128) // 2).astype(np.int16)
    masks = np.zeros((2, 128, 128), np.uint8)
    masks[0, 2::4, 2::4] = 3
    table = {"subject": ["a", "b"], "split": ["train", "test"], "class": ["x/y", "z"]}
    whole = SegmentDataset.create(tmp_path / "whole", hu, table, kind="real", spacing_mm=0.45, masks=masks)
    small = reduce(whole, tmp_path / "small", 32)
    assert small.meta.spacing_mm == pytest.approx(1.8)
    np.testing.assert_array_equal(small.hu[1], np.rint(hu[1].reshape(32, 4, 32, 4).mean((1, 3))))
    assert (small.masks[0] == 3).all()
    assert not small.masks[1].any()
    assert small.table["class"].tolist() == ["x/y", "z"]
    with pytest.raises(InputError, match="cannot be reduced to 24") as refused:
        reduce(whole, tmp_path / "other", 24)
    assert "64, 32" in refused.value.advice
