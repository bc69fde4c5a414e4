"""Augmentation: a pure function of (seed, epoch, item) that does what the papers say."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests.augment.transforms import ALL_TRANSFORMS, EVERYTHING, MIXES, TRANSFORMS, augmented, noise
from tests.conftest import unless_thorough
from tltool.augment.spec import AugmentSpec

SIZE = (32, 24)


def test_without_transforms_images_are_unchanged():
    images = noise(5)
    index, changed, labels = augmented(images, AugmentSpec())
    np.testing.assert_array_equal(changed, images)
    np.testing.assert_array_equal(labels, np.eye(5))
    np.testing.assert_array_equal(index, np.arange(5))


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(ALL_TRANSFORMS, marks=pytest.mark.thorough, id="all transforms"),
        pytest.param(AugmentSpec(flip="horizontal", crop=(0.5, 1.5)), id="geometry"),
    ],
)
def usual(request: pytest.FixtureRequest) -> tuple[AugmentSpec, tuple[np.ndarray, ...]]:
    """Return transforms, and an epoch of images with them."""
    return request.param, augmented(noise(24), request.param, threads=5)


def test_the_number_of_workers_has_no_influence(usual):
    spec, expected = usual
    for one, other in zip(expected, augmented(noise(24), spec, threads=1), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", unless_thorough([*MIXES], "mixup"))
def test_the_number_of_workers_has_no_influence_on_blends(name):
    one, other = (augmented(noise(24), MIXES[name], threads=threads) for threads in (1, 5))
    for before, after in zip(one, other, strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("name", unless_thorough([*TRANSFORMS, *MIXES], "rotation", "mixup"))
def test_another_seed_gives_other_images(name):
    images, spec = noise(8), {**TRANSFORMS, **MIXES}[name]
    assert not np.array_equal(augmented(images, spec)[1], augmented(images, spec, seed=1)[1])


def test_another_epoch_gives_other_images():
    images = noise(8)
    for spec in (TRANSFORMS["rotation"], *MIXES.values()):
        assert not np.array_equal(augmented(images, spec)[1], augmented(images, spec, epoch=2)[1])


def test_images_of_one_epoch_are_augmented_independently():
    images = np.repeat(noise(1), 16, axis=0)
    changed = augmented(images, AugmentSpec(crop=(0.5, 1.5)))[1]
    assert len({image.tobytes() for image in changed}) == 16


def test_the_augmentation_of_an_image_does_not_depend_on_its_place_in_the_epoch(usual):
    spec, expected = usual
    order = np.random.default_rng(1).permutation(24)
    index, shuffled, _ = augmented(noise(24), spec, order=order)
    np.testing.assert_array_equal(index, order)
    np.testing.assert_array_equal(shuffled, expected[1][order])


@pytest.mark.parametrize(
    ("mode", "ways"),
    [
        ("horizontal", [np.s_[:, ::-1]]),
        ("vertical", [np.s_[::-1]]),
        ("horizontal_and_vertical", [np.s_[:, ::-1], np.s_[::-1], np.s_[::-1, ::-1]]),
    ],
)
def test_flip_only_flips_and_does_every_flip(mode, ways):
    images = noise(64)
    changed = augmented(images, AugmentSpec(flip=mode))[1]
    seen = []
    for before, after in zip(images, changed, strict=True):
        candidates = [before, *(before[way] for way in ways)]
        found = [k for k, one in enumerate(candidates) if np.array_equal(one, after)]
        assert found
        seen.append(found[0])
    shares = np.bincount(seen, minlength=len(ways) + 1) / 64
    assert (shares > 0.08).all()


def positions(count: int, side: int = 64) -> np.ndarray:
    """Images that hold their own coordinates: red is x, green is y, both 0 to 1 times 255."""
    ramp = (np.arange(side) + 0.5) / side * 255
    image = np.stack(
        [
            np.broadcast_to(ramp, (side, side)),
            np.broadcast_to(ramp[:, None], (side, side)),
            np.zeros((side, side)),
        ],
        axis=-1,
    )
    return np.repeat(image[np.newaxis], count, axis=0).astype(np.float32)


def crop_extents(changed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return width and height of every crop as a share of the image's, from the slopes."""
    side = changed.shape[1]
    middle = slice(side // 4, 3 * side // 4)
    width = np.diff(changed[:, :, middle, 0], axis=2).mean(axis=(1, 2)) * side / 255
    height = np.diff(changed[:, middle, :, 1], axis=1).mean(axis=(1, 2)) * side / 255
    return width, height


def test_crops_keep_the_area_and_aspect_that_the_recipe_allows():
    changed = augmented(positions(200), AugmentSpec(crop=(0.5, 1.5)), batch_size=50)[1]
    width, height = crop_extents(changed)
    area, aspect = width * height, width / height
    assert 0.45 < area.min() < 0.6
    assert 0.85 < area.max() <= 1.03
    assert 1 / 1.55 < aspect.min() < 0.8
    assert 1.25 < aspect.max() < 1.55


def test_area_and_aspect_of_crops_are_drawn_independently():
    changed = augmented(positions(300), AugmentSpec(crop=(0.3, 1.2)), batch_size=50)[1]
    width, height = crop_extents(changed)
    correlation = np.corrcoef(width * height, np.log(width / height))[0, 1]
    assert abs(correlation) < 0.2  # 0.116 is two standard errors of 300 draws
    assert abs(np.log(width / height).mean()) < 0.03


def test_crops_come_from_everywhere_in_the_image():
    changed = augmented(positions(200), AugmentSpec(crop=(0.3, 1.0)), batch_size=50)[1]
    centre = changed[:, 32, 32, 0] / 255
    assert centre.min() < 0.4
    assert centre.max() > 0.6
    assert abs(centre.mean() - 0.5) < 0.04


def test_cutout_hides_at_most_the_rectangle_allowed():
    images = np.full((100, 40, 40, 3), 200, np.float32)
    changed = augmented(images, AugmentSpec(cutout=0.5))[1]
    hidden = (changed != 200).any(axis=-1)
    assert (changed[hidden] == 116).all()
    shares = hidden.mean(axis=(1, 2))
    assert shares.max() <= 0.25 + 1e-6
    assert shares.max() > 0.1


@pytest.mark.thorough
def test_all_of_it_works_under_determinism():
    tf.config.experimental.enable_op_determinism()
    changed = augmented(noise(4), EVERYTHING)[1]
    assert np.isfinite(changed).all()


def test_a_specification_is_named_by_its_content():
    assert AugmentSpec(mixup=0.2).to_json() == AugmentSpec(mixup=0.2).to_json()
    assert AugmentSpec(mixup=0.2).to_json() != AugmentSpec(cutmix=0.2).to_json()
    assert AugmentSpec().identity
    assert not AugmentSpec(flip="vertical").identity


def test_the_frequency_of_flips_is_the_configured_probability():
    images = noise(40)
    for probability, least, most in ((0.0, 0, 0), (0.25, 4, 17), (1.0, 40, 40)):
        spec = AugmentSpec(flip="horizontal", flip_probability=probability)
        flipped = (augmented(images, spec)[1] == images[:, :, ::-1]).all(axis=(1, 2, 3)).sum()
        assert least <= flipped <= most


def test_with_always_a_transform_is_applied_to_every_image():
    seldom = AugmentSpec(flip="horizontal", flip_probability=0.0, grayscale=0.0)
    changed = augmented(noise(8), seldom.always())[1]
    np.testing.assert_array_equal(changed[..., 0], changed[..., 1])
    assert not np.array_equal(changed, augmented(noise(8), AugmentSpec(grayscale=1.0))[1])
