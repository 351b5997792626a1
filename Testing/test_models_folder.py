"""A model folder holds all that is needed, and a damaged, newer or foreign one is refused in words."""

import json
import os
import stat

import pytest
import torch

from SkullGANLib.errors import FormatError, InputError, ResourceError
from SkullGANLib.models.card import ModelCard, load_card
from SkullGANLib.models.device import memory_advice, resolve_device
from SkullGANLib.models.folder import Model, load_model, save_model
from SkullGANLib.models.registry import FAMILIES, get_family
from SkullGANLib.models.released import load_released, network_from_shapes, read_state_dict
from SkullGANLib.models.skullgan import FAMILY, SkullGANNetwork
from SkullGANLib.models.window import IntensityWindow

TINY = SkullGANNetwork(latent=8, generator=(16, 8, 8, 8), tail=(4, 5, 6), discriminator=(4, 8, 8), weight_std="fan_in")


def tiny_model() -> Model:
    torch.manual_seed(0)
    card = ModelCard(
        family="skullgan", network=TINY.model_dump(mode="json"), window=IntensityWindow(minimum_hu=0, range_hu=2000)
    )
    return Model(card, FAMILY.build_generator(TINY).eval(), FAMILY.build_discriminator(TINY).eval())


def test_a_saved_model_comes_back_with_its_weights_and_card(tmp_path):
    model = tiny_model()
    save_model(tmp_path / "model", model)
    again = load_model(tmp_path / "model", discriminator=True)
    for one, other in ((model.generator, again.generator), (model.discriminator, again.discriminator)):
        for name, value in one.state_dict().items():
            assert torch.equal(value, other.state_dict()[name])
    assert again.window == model.window
    assert again.network == TINY
    assert again.hash == model.hash
    assert not again.generator.training


def test_a_run_folder_serves_as_its_model(tmp_path):
    save_model(tmp_path / "run" / "model", tiny_model())
    assert load_model(tmp_path / "run").discriminator is None
    assert load_card(tmp_path / "run").family == "skullgan"


def test_the_hash_changes_with_the_window_and_with_the_weights(tmp_path):
    model = tiny_model()
    save_model(tmp_path / "a", model)
    first = model.hash
    with torch.no_grad():
        model.generator.conv4.weight[0, 0, 0, 0] += 0.1
    save_model(tmp_path / "b", model)
    assert model.hash != first
    second = model.hash
    model.card.window = IntensityWindow(minimum_hu=0, range_hu=1)
    assert model.hash != second


def test_damaged_weights_are_refused(tmp_path):
    save_model(tmp_path / "model", tiny_model())
    file = tmp_path / "model" / "generator.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(FormatError, match="damaged"):
        load_model(tmp_path / "model")
    file.unlink()
    with pytest.raises(FormatError, match="missing"):
        load_model(tmp_path / "model")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": 2}, "newer SkullGAN"),
        ({"format": "something"}, "not of a SkullGAN model"),
        ({"window": None}, "damaged"),
        ({"network": {"latent": 9}}, "does not hold the weights"),
        ({"network": {"depth": 9}}, "cannot be built"),
    ],
)
def test_a_card_that_does_not_fit_is_refused(tmp_path, change, words):
    save_model(tmp_path / "model", tiny_model())
    card = tmp_path / "model" / "model.json"
    card.write_text(json.dumps(json.loads(card.read_text()) | change))
    with pytest.raises(FormatError, match=words):
        load_model(tmp_path / "model")


def test_a_folder_without_a_card_is_no_model(tmp_path):
    with pytest.raises(FormatError, match=r"no model\.json"):
        load_model(tmp_path)


def test_an_unknown_family_names_those_there_are():
    assert "skullgan" in FAMILIES
    with pytest.raises(InputError, match="skullgan"):
        get_family("skulgan")


def _write_pth(path, network=TINY, prefix=""):
    generator = FAMILY.build_generator(network)
    torch.save({prefix + name: value for name, value in generator.state_dict().items()}, path)
    return generator


def test_released_weights_load_strictly_with_the_authors_window(tmp_path):
    generator = _write_pth(tmp_path / "netG_SkullGAN.pth", prefix="module.")
    torch.save(FAMILY.build_discriminator(TINY).state_dict(), tmp_path / "netD_SkullGAN.pth")
    model = load_released(tmp_path / "netG_SkullGAN.pth")
    assert torch.equal(model.generator.main1[0].weight, generator.main1[0].weight)
    assert model.network.model_dump(exclude={"weight_std"}) == TINY.model_dump(exclude={"weight_std"})
    assert (model.window.minimum_hu, model.window.maximum_hu) == (0, 2734.53)
    assert model.discriminator is not None
    assert len(model.hash) == 64


def test_module_is_stripped_as_a_prefix_only(tmp_path):
    torch.save({"module.a": torch.zeros(1), "b.module.c": torch.zeros(1)}, tmp_path / "w.pth")
    assert set(read_state_dict(tmp_path / "w.pth")) == {"a", "b.module.c"}


def test_another_file_name_needs_its_window(tmp_path):
    _write_pth(tmp_path / "mine.pth")
    with pytest.raises(InputError, match="--window-hu"):
        load_released(tmp_path / "mine.pth")
    assert load_released(tmp_path / "mine.pth", window_hu=(-50, 1950)).window.range_hu == 2000


def test_the_paper_s_sizes_are_read_from_shapes():
    with torch.device("meta"):
        weights = FAMILY.build_generator(SkullGANNetwork()).state_dict()
        judge = FAMILY.build_discriminator(SkullGANNetwork()).state_dict()
    assert network_from_shapes(weights, judge) == SkullGANNetwork()


class Payload:
    def __reduce__(self):
        return (print, ("run",))


def test_a_file_that_holds_more_than_tensors_is_not_opened(tmp_path, capsys):
    torch.save({"a": Payload()}, tmp_path / "netG_SkullGAN.pth")
    with pytest.raises(FormatError, match="more than tensors"):
        load_released(tmp_path / "netG_SkullGAN.pth")
    assert capsys.readouterr().out == ""


def test_a_truncated_file_and_another_network_are_refused(tmp_path):
    path = tmp_path / "netG_SkullGAN.pth"
    _write_pth(path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(FormatError):
        load_released(path)
    torch.save({"fc.weight": torch.zeros(2, 2)}, path)
    with pytest.raises(FormatError, match="not SkullGAN"):
        load_released(path)


def test_devices_are_named_and_missing_ones_explained():
    assert resolve_device("cpu").type == "cpu"
    assert resolve_device("auto").type in ("cpu", "cuda", "mps")
    with pytest.raises(InputError, match="gpu"):
        resolve_device("gpu")
    with pytest.raises(ResourceError):
        resolve_device("cuda:99")


def test_running_out_of_memory_says_what_to_lower():
    with pytest.raises(ResourceError, match="smaller batch"), memory_advice("Use a smaller batch."):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
    with pytest.raises(RuntimeError, match="other"), memory_advice("Use a smaller batch."):
        raise RuntimeError("other")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_weights_can_be_read_by_whoever_can_read_the_folder(tmp_path):
    from SkullGANLib.files import write_tensors

    tmp_path.chmod(0o750)
    write_tensors(tmp_path / "weights.safetensors", {"a": torch.ones(2)})
    assert stat.S_IMODE((tmp_path / "weights.safetensors").stat().st_mode) == 0o640
