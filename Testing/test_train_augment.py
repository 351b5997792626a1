"""Augmentation: what each change does to an image, that it depends on the image alone, and how strong it becomes."""

import json
import math

import numpy as np
import pytest
import torch

from SkullGANLib.train.augment import BRIGHTNESS, CONTRAST, TRANSLATION, Augmentation, augmented

BACKGROUND = -1.0
CHANGES = ("flip", "rotate", "scale", "translate", "colour", "hide")


def draws(*done: str, much: dict[int, float] | None = None) -> torch.Tensor:
    """Random numbers that make just these changes at a probability of a half, by the given amounts of -1 to 1."""
    values = torch.full((1, 14), 0.99)
    for name in done:
        values[0, CHANGES.index(name)] = 0.0
    values[0, 6:] = 0.5
    for place, amount in (much or {}).items():
        values[0, 6 + place] = (amount + 1) / 2
    return values


@pytest.fixture
def image() -> torch.Tensor:
    return torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_nothing_done_leaves_the_image(image):
    torch.testing.assert_close(augmented(image, draws(), 0.5, BACKGROUND), image, atol=1e-5, rtol=0)


def test_a_flip_is_left_to_right(image):
    torch.testing.assert_close(augmented(image, draws("flip"), 0.5, BACKGROUND), image.flip(-1), atol=1e-5, rtol=0)


def test_a_translation_moves_by_whole_pixels_and_background_comes_in(image):
    share = 4 / 32 / TRANSLATION  # four pixels
    moved = augmented(image, draws("translate", much={2: share}), 0.5, BACKGROUND)
    torch.testing.assert_close(moved[..., :28], image[..., 4:], atol=1e-4, rtol=0)
    assert moved[..., 28:].eq(BACKGROUND).all()


def test_a_rotation_turns_about_the_centre_by_up_to_ten_degrees():
    line = torch.full((1, 1, 65, 65), BACKGROUND)
    line[..., 32, :] = 1.0
    turned = augmented(line, draws("rotate", much={0: 1.0}), 0.5, BACKGROUND)[0, 0]
    left, right = turned[:, 8].argmax().item(), turned[:, 56].argmax().item()
    assert abs(right - left) / 48 == pytest.approx(math.tan(math.radians(10)), abs=0.03)


def test_a_larger_scale_makes_a_square_larger():
    square = torch.full((1, 1, 64, 64), BACKGROUND)
    square[..., 22:42, 22:42] = 1.0
    grown = augmented(square, draws("scale", much={1: 1.0}), 0.5, BACKGROUND)
    side = ((grown + 1) / 2).sum().sqrt().item()
    assert side == pytest.approx(20 * 1.1, abs=0.3)


def test_contrast_is_about_the_background_and_brightness_a_shift(image):
    changed = augmented(image, draws("colour", much={4: 1.0, 5: 0.5}), 0.5, BACKGROUND)
    expected = (image - BACKGROUND) * (1 + CONTRAST) + BACKGROUND + 0.5 * BRIGHTNESS
    torch.testing.assert_close(changed, expected, atol=1e-4, rtol=0)


def test_a_quarter_of_the_width_is_hidden(image):
    hidden = augmented(image, draws("hide"), 0.5, BACKGROUND)
    changed = (hidden - image).abs() > 1e-4
    assert changed.any((0, 1, 3)).sum() == changed.any((0, 1, 2)).sum() == 8
    assert hidden[changed].eq(BACKGROUND).all()


def test_gradients_reach_the_images(image):
    image.requires_grad_()
    augmented(image, torch.rand(1, 14), 0.9, BACKGROUND).sum().backward()
    assert image.grad.abs().sum() > 0


def test_an_image_is_changed_in_the_same_way_in_every_batch():
    images = torch.rand(6, 1, 32, 32)
    change = Augmentation(3)
    assert change(images, 0) is images  # not yet
    change.probability = 0.5
    whole, part = change(images, 10, 1), change(images[2:4], 12, 1)
    torch.testing.assert_close(part, whole[2:4])
    assert not torch.equal(change(images, 10, 2), whole)


def test_it_grows_while_held_out_images_are_taken_for_drawn_ones_and_shrinks_while_they_are_not():
    change = Augmentation(0, ramp_images=1000, limit=0.3)
    for _ in range(80):
        change.observe(4.0, 0.1, 8)
    assert change.probability == 0.3  # no further
    assert change.overfit == pytest.approx(0.975)
    for _ in range(8):
        change.observe(None, None, 8)  # a step that did not look
        change.observe(4.0, 3.9, 8)
    assert change.probability == pytest.approx(0.3 - 128 / 1000)
    for _ in range(80):
        change.observe(-2.0, -1.0, 8)  # a discriminator that tells nothing apart has learnt nothing by heart
    assert (change.overfit, change.probability) == (0.0, 0.0)


def test_its_state_goes_through_json():
    change = Augmentation(0)
    json.loads(json.dumps(change.state(), allow_nan=False))
    for _ in range(11):
        change.observe(2.0, 1.2, 64)
    other = Augmentation(0)
    other.load_state(json.loads(json.dumps(change.state(), allow_nan=False)))
    for each in (change, other):
        for _ in range(6):
            each.observe(2.0, 0.0, 64)
    assert other.state() == change.state()
    assert change.probability > 0
    assert np.isfinite(change.overfit)
