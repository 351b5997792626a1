"""What a training from label maps refuses, says and shows."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

from SkullGANLib.cli.main import skullgan
from SkullGANLib.errors import FormatError, InputError
from SkullGANLib.models.patch_cgan import PatchNetwork
from SkullGANLib.segments.dataset import SegmentDataset
from SkullGANLib.train.labelled import LabelledData
from SkullGANLib.train.options import load_options
from SkullGANLib.train.pix2pix_config import read_config
from SkullGANLib.train.run import open_run, train
from SkullGANLib.train.snapshots import _blanked

TINY = {
    "network.size": 32, "network.widths": [8, 8, 8], "network.neighbours": 0, "network.head": 0,
    "network.judge_width": 8, "network.patch": 16, "images": 16, "batch_size": 8, "hold_out": 0, "snapshot_images": 8,
}  # fmt: skip


def make(path, *, size=32, spacing_mm=1.9, empty_hu=0, names=None):
    """A bright square on nothing, or on something dim that has no label."""
    hu = np.full((16, size, size), empty_hu, np.int16)
    masks = np.zeros((16, size, size), np.uint8)
    hu[:, 8:20, 8:20], masks[:, 8:20, 8:20] = 1000, 1
    table = {"subject": [f"s{k // 4}" for k in range(16)], "split": ["train"] * 12 + ["val"] * 4}
    given = {"kind": "phantom", "spacing_mm": spacing_mm, "background_hu": 0.0}
    SegmentDataset.create(path, hu, table, masks={"own": masks}, labels={"own": names or {1: "square"}}, **given)
    return path


def options(data, out, **more):
    return load_options("patch-small", {**TINY, "data": [data], "out": out, **more})


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    folder = tmp_path_factory.mktemp("first")
    return train(options(make(folder / "data"), folder / "run"))


@pytest.mark.parametrize(
    ("preset", "init", "advice"),
    [("recommended-tiny64", None, "patch-small"), ("patch-small", "phantom", "recommended")],
)
def test_a_model_of_another_family_to_start_from_is_refused_with_the_presets_that_fit(
    first, tmp_path, preset, init, advice
):
    data = make(tmp_path / "data")
    given = TINY if preset == "patch-small" else {"images": 16}
    asked = load_options(preset, {**given, "data": [data], "out": tmp_path / "run", "init": init or str(first)})
    with pytest.raises(InputError, match="is a model of the family") as refused:
        open_run(asked)
    assert advice in refused.value.advice
    assert not (tmp_path / "run").exists()


def test_slices_that_could_not_be_drawn_afterwards_are_not_trained_on(tmp_path):
    with pytest.raises(InputError, match="have 64 pixels, the network makes 32") as refused:
        LabelledData([make(tmp_path / "data", size=64)], size=32)
    assert "network.size=64" in refused.value.advice


def test_that_a_model_has_learnt_other_pixels_is_said(first, tmp_path):
    same, other = make(tmp_path / "same"), make(tmp_path / "other", spacing_mm=0.45)
    with pytest.warns(UserWarning, match="has learnt pixels of 1.9 mm, the training data have 0.45 mm"):
        open_run(options(other, tmp_path / "one", init=str(first)))
    import warnings

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        open_run(options(same, tmp_path / "two", init=str(first)))
    assert not any("has learnt pixels" in str(each.message) for each in caught)


@pytest.mark.parametrize(("empty_hu", "blank"), [(0, True), (40, False)])
def test_pictures_of_a_training_show_nothing_where_nothing_has_a_label_if_the_data_do(tmp_path, empty_hu, blank):
    run = open_run(options(make(tmp_path / "data", empty_hu=empty_hu), tmp_path / "run"))
    shown = _blanked(run, np.full((2, 32, 32), 500.0), range(2))
    assert (shown[:, 0, 0] == (0 if blank else 500)).all()
    assert (shown[:, 10, 10] == 500).all()


@pytest.mark.parametrize(
    ("names", "mirrored"), [({1: "left ventricle"}, False), ({1: "Right_ear"}, False), ({1: "bright spot"}, True)]
)
def test_a_side_is_a_word_of_a_label_and_keeps_slices_from_being_mirrored(tmp_path, names, mirrored):
    assert LabelledData([make(tmp_path / "data", names=names)]).mirror is mirrored


def test_a_configuration_in_another_encoding_is_refused_in_words(tmp_path):
    path = tmp_path / "whs.json"
    path.write_bytes('{"NAME": "Härz"}'.encode("latin-1"))
    with pytest.raises(FormatError, match="UTF-8"):
        read_config(path)


@pytest.mark.parametrize("key", ["SKIP_CONNECTIONS_GENERATOR", "CONDITIONAL_DISCRIMINATOR"])
def test_a_word_in_quotes_is_no_choice(tmp_path, key):
    path = tmp_path / "whs.json"
    path.write_text(json.dumps({key: "false"}))
    with pytest.raises(InputError, match=f"{key} cannot be 'false'"):
        read_config(path)


def test_the_width_of_the_first_layers_is_that_of_both_networks(tmp_path):
    path = tmp_path / "whs.json"
    path.write_text(json.dumps({"FIRST_LAYERS_FILTERS": 32}))
    network = load_options("patch-whs", read_config(path)[0]).network_options
    assert network.judge_width == 32
    assert network.widths == tuple(width // 2 for width in PatchNetwork().widths)


def test_a_configuration_and_a_preset_together_are_refused(tmp_path):
    (tmp_path / "whs.json").write_text("{}")
    words = ["train", "--config", str(tmp_path / "whs.json"), "--preset", "patch-small", "--dry-run"]
    result = CliRunner().invoke(skullgan, words)
    assert result.exit_code == 1
    assert "Both --config and --preset" in result.output
