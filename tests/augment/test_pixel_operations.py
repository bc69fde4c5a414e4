"""Transforms of one image: each agrees with its formula, its paper or Pillow."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from tests.augment.transforms import TRANSFORMS, augmented, noise, smooth
from tltool.augment import pixel_operations, rand_augment
from tltool.augment.spec import AugmentSpec, AugMix, ColorJitter, RandAugment, WithProbability


def as_pillow(image: np.ndarray) -> Image.Image:
    return Image.fromarray(np.round(image).astype(np.uint8))


def places(side: int = 64) -> np.ndarray:
    """An image that holds its own coordinates, from the centre: red is x, green is y, in pixels."""
    ramp = np.arange(side, dtype=np.float32) - (side - 1) / 2
    x, y = np.meshgrid(ramp, ramp)
    return np.stack([x, y, np.zeros_like(x)], axis=-1)


def matrix_of(changed: np.ndarray) -> np.ndarray:
    """Return the 2×3 matrix that maps places of the result to where they came from."""
    side = changed.shape[0]
    near = slice(side // 2 - 6, side // 2 + 6)
    x, y = np.meshgrid(*[np.arange(side)[near] - (side - 1) / 2] * 2)
    terms = np.stack([x.ravel(), y.ravel(), np.ones(x.size)], axis=1)
    found, *_ = np.linalg.lstsq(terms, changed[near, near, :2].reshape(-1, 2), rcond=None)
    return found.T


# geometry -----------------------------------------------------------------------------------


def test_a_quarter_turn_is_exact_and_counter_clockwise():
    image = noise(1, (16, 16))[0]
    turned = pixel_operations.affine(tf.constant(image), angle=math.pi / 2).numpy()
    np.testing.assert_allclose(turned, np.rot90(image), atol=0.01)


def test_a_shift_moves_right_and_down_and_fills_the_gap():
    image = noise(1, (16, 12))[0]
    moved = pixel_operations.affine(tf.constant(image), shift=(2.0, 3.0), fill=7.0).numpy()
    np.testing.assert_allclose(moved[3:, 2:], image[:-3, :-2], atol=1e-3)
    np.testing.assert_allclose(moved[:3], 7, atol=1e-3)
    np.testing.assert_allclose(moved[:, :2], 7, atol=1e-3)


@pytest.mark.parametrize(
    ("change", "inverse"),
    [
        ({"scale": 2.0}, [[0.5, 0], [0, 0.5]]),
        ({"shear": (0.5, 0.0)}, [[1, -0.5], [0, 1]]),
        ({"shear": (0.0, 0.25)}, [[1, 0], [-0.25, 1]]),
        ({"angle": 0.3}, [[math.cos(0.3), -math.sin(0.3)], [math.sin(0.3), math.cos(0.3)]]),
    ],
    ids=["scale", "shear_x", "shear_y", "rotation"],
)
def test_geometry_is_about_the_centre_and_follows_its_matrix(change, inverse):
    found = matrix_of(pixel_operations.affine(tf.constant(places()), **change).numpy())
    np.testing.assert_allclose(found[:, :2], inverse, atol=1e-3)
    np.testing.assert_allclose(found[:, 2], 0, atol=1e-3)


def drawn_matrices(spec: AugmentSpec, count: int = 200) -> np.ndarray:
    images = np.repeat(places(48)[np.newaxis], count, axis=0)
    return np.stack([matrix_of(image) for image in augmented(images, spec, batch_size=50)[1]])


def test_angles_are_drawn_evenly_within_the_limit():
    matrices = drawn_matrices(AugmentSpec(rotation=30))
    angles = np.degrees(np.arctan2(matrices[:, 1, 0], matrices[:, 0, 0]))
    assert 27 < np.abs(angles).max() <= 30.01
    assert abs(angles.mean()) < 4
    assert abs(angles.std() - 30 / math.sqrt(3)) < 2


def test_shifts_zooms_and_slants_stay_within_their_limits():
    shifts = drawn_matrices(AugmentSpec(translation=0.2))[:, :, 2] / 48
    assert 0.18 < np.abs(shifts).max() <= 0.201
    assert abs(np.corrcoef(shifts.T)[0, 1]) < 0.2
    zooms = 1 / drawn_matrices(AugmentSpec(scale=0.5))[:, 0, 0]
    assert 0.66 < zooms.min() < 0.7 < 1.4 < zooms.max() <= 1.501
    assert abs(np.log(zooms).mean()) < 0.05  # in and out equally often
    slants = drawn_matrices(AugmentSpec(shear=20))
    assert 0.3 < np.abs(slants[:, 0, 1] / slants[:, 0, 0]).max() < math.tan(math.radians(20)) + 0.01


# colours ------------------------------------------------------------------------------------

ENHANCE = {
    "brightness": (pixel_operations.brightness, ImageEnhance.Brightness),
    "contrast": (pixel_operations.contrast, ImageEnhance.Contrast),
    "saturation": (pixel_operations.saturation, ImageEnhance.Color),
    "sharpness": (pixel_operations.sharpness, ImageEnhance.Sharpness),
}


@pytest.mark.parametrize("factor", [0.4, 1.0, 1.7])
@pytest.mark.parametrize("name", ENHANCE)
def test_enhancements_are_those_of_pillow(name, factor):
    image = np.round(noise(1)[0])
    ours, theirs = ENHANCE[name]
    expected = np.asarray(theirs(as_pillow(image)).enhance(factor), np.float32)
    np.testing.assert_allclose(ours(tf.constant(image), factor).numpy(), expected, atol=1.6)


def test_grey_is_that_of_pillow():
    image = np.round(noise(1)[0])
    found = pixel_operations.grey(tf.constant(image)).numpy()
    np.testing.assert_allclose(found[..., 0], np.asarray(as_pillow(image).convert("L")), atol=0.6)
    np.testing.assert_array_equal(found[..., 0], found[..., 2])


def test_a_third_of_the_circle_turns_red_into_green():
    red = np.full((4, 4, 3), (200, 20, 20), np.float32)
    turned = pixel_operations.hue(tf.constant(red), 1 / 3).numpy()
    np.testing.assert_allclose(turned, np.full((4, 4, 3), (20, 200, 20)), atol=0.5)


def test_jitter_draws_each_factor_independently():
    images = np.full((300, 4, 4, 3), 100, np.float32)
    spec = AugmentSpec(color_jitter=ColorJitter(0.4, 0, 0, 0, 1))
    factors = augmented(images, spec, batch_size=100)[1][:, 0, 0, 0] / 100
    assert 0.6 <= factors.min() < 0.63 < 1.37 < factors.max() <= 1.4
    assert abs(factors.std() - 0.4 / math.sqrt(3)) < 0.02


# degradations -------------------------------------------------------------------------------


def test_noise_has_the_configured_standard_deviation():
    grey = tf.fill((64, 64, 3), 128.0)
    numbers = tf.random.stateless_normal((64, 64, 3), [1, 2])
    changed = pixel_operations.add_noise(grey, numbers, 10.0).numpy()
    assert abs(changed.std() - 10) < 0.3
    assert abs(changed.mean() - 128) < 0.3
    images = np.full((100, 16, 16, 3), 128, np.float32)
    drawn = augmented(images, AugmentSpec(noise=WithProbability(20, 1)), batch_size=50)[1]
    deviations = drawn.std(axis=(1, 2, 3))
    assert 17 < deviations.max() < 21
    assert abs(deviations.mean() - 10) < 1.5


def test_blur_is_a_gaussian_and_does_not_change_a_constant_image():
    image = smooth(1)[0]
    found = pixel_operations.gaussian_blur(tf.constant(image), 1.5, largest=2.0).numpy()
    from scipy.ndimage import gaussian_filter

    expected = gaussian_filter(image, (1.5, 1.5, 0), mode="mirror", radius=6)
    np.testing.assert_allclose(found, expected, atol=0.02)
    plain = np.full((32, 24, 3), 90, np.float32)
    for image in augmented(plain[np.newaxis], TRANSFORMS["blur"])[1]:
        np.testing.assert_allclose(image, plain, atol=1e-3)


def test_blur_of_a_tiny_image_works():
    blurred = pixel_operations.gaussian_blur(tf.constant(noise(1, (3, 4))[0]), 5.0, largest=5.0)
    assert blurred.shape == (3, 4, 3)


@pytest.mark.parametrize("quality", [30, 90])
def test_jpeg_is_as_bad_as_its_quality(quality):
    image = smooth(1, (64, 64))[0]
    memory = io.BytesIO()
    as_pillow(image).save(memory, "JPEG", quality=quality)
    expected = np.asarray(Image.open(memory), np.float32)
    found = pixel_operations.jpeg(tf.constant(image), quality).numpy()
    assert np.abs(found - expected).mean() < 1.5
    assert 0 < np.abs(found - image).mean() < 8


# holes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("hidden", [0.3, 0.6])
def test_grid_mask_hides_the_share_of_the_paper(hidden):
    """K = 1 - (1 - r)^2 of the image is kept, r being 1 - hidden."""
    images = np.full((200, 64, 64, 3), 200, np.float32)
    spec = AugmentSpec(grid_mask=WithProbability(hidden, 1))
    kept = (augmented(images, spec, batch_size=50)[1] == 200).all(axis=-1).mean(axis=(1, 2))
    assert abs(kept.mean() - (1 - hidden**2)) < 0.02


def test_an_unrotated_grid_is_at_the_configured_place():
    image = tf.fill((12, 12, 3), 200.0)
    zero = tf.constant(0.0)
    masked = pixel_operations.grid_mask(
        image, unit=tf.constant(6.0), hidden=0.5, offset=(zero, zero), angle=zero, fill=9.0
    ).numpy()[..., 0]
    expected = np.full((12, 12), 200)
    for top in (0, 6):
        for left in (0, 6):
            expected[top : top + 3, left : left + 3] = 9
    np.testing.assert_array_equal(masked, expected)


# chances ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spec",
    [
        AugmentSpec(color_jitter=ColorJitter(0.5, 0.5, 0.5, 0.1, 0.3)),
        AugmentSpec(grayscale=0.3),
        AugmentSpec(noise=WithProbability(20, 0.3)),
        AugmentSpec(blur=WithProbability(2, 0.3)),
        AugmentSpec(jpeg=WithProbability(60, 0.3)),
        AugmentSpec(grid_mask=WithProbability(0.4, 0.3)),
    ],
    ids=["color_jitter", "grayscale", "noise", "blur", "jpeg", "grid_mask"],
)
def test_a_probability_is_the_fraction_of_transformed_images(spec):
    images = np.round(noise(200, (16, 16)))
    changed = (augmented(images, spec, batch_size=50)[1] != images).any(axis=(1, 2, 3))
    assert 0.2 < changed.mean() < 0.4


# RandAugment and AugMix ---------------------------------------------------------------------

PILLOW = {
    "auto_contrast": (0.0, ImageOps.autocontrast),
    "equalize": (0.0, ImageOps.equalize),
    "solarize": (0.5, lambda image: ImageOps.solarize(image, 128)),
    "posterize": (0.5, lambda image: ImageOps.posterize(image, 6)),
    "color": (0.5, lambda image: ImageEnhance.Color(image).enhance(1.45)),
    "contrast": (0.5, lambda image: ImageEnhance.Contrast(image).enhance(1.45)),
    "brightness": (0.5, lambda image: ImageEnhance.Brightness(image).enhance(1.45)),
    "sharpness": (0.5, lambda image: ImageEnhance.Sharpness(image).enhance(1.45)),
    "rotate": (
        0.5,
        lambda image: image.rotate(15, Image.Resampling.BILINEAR, fillcolor=(128,) * 3),
    ),
    "identity": (0.5, lambda image: image),
}
RAND_AUGMENT = rand_augment.rand_augment_operations()


@pytest.mark.parametrize("name", PILLOW)
def test_operations_of_rand_augment_are_those_of_pillow(name):
    image = smooth(1, (48, 48))[0]
    number = [one.name for one in RAND_AUGMENT].index(name)
    strength, theirs = PILLOW[name]
    assert callable(theirs)
    found = rand_augment.apply_one(
        RAND_AUGMENT, tf.constant(image), tf.constant(number), strength, 1.0
    ).numpy()
    expected = np.asarray(theirs(as_pillow(image)), np.float32)
    inner = np.s_[2:-2, 2:-2]
    close = np.abs(found[inner] - expected[inner]) < 3
    assert close.mean() > (0.97 if name == "rotate" else 0.999)


def test_the_tables_are_those_of_the_papers():
    assert len(RAND_AUGMENT) == 14
    assert len(rand_augment.aug_mix_operations()) == 9
    assert len({one.name for one in RAND_AUGMENT}) == 14


@pytest.mark.parametrize("one", RAND_AUGMENT, ids=lambda one: one.name)
def test_a_higher_magnitude_never_has_a_weaker_effect(one):
    image, zero = smooth(1, (48, 48))[0], tf.constant(0)
    distances = [
        np.abs(
            rand_augment.apply_one([one], tf.constant(image), zero, strength, 1.0) - image
        ).mean()
        for strength in (0.2, 0.6, 1.0)
    ]
    assert distances == sorted(distances)


def test_rand_augment_uses_all_of_its_operations():
    """With one operation an image, as many outcomes as there are operations and signs are met."""
    images = np.repeat(smooth(1), 400, axis=0)
    spec = AugmentSpec(rand_augment=RandAugment(1, 8))
    changed = augmented(images, spec, batch_size=100)[1]
    signed = sum(one.signed for one in RAND_AUGMENT)
    assert len({image.tobytes() for image in changed}) == len(RAND_AUGMENT) + signed


def test_without_operations_nothing_changes_and_without_severity_little():
    images = smooth(20)
    near = augmented(images, AugmentSpec(aug_mix=AugMix(0.1, 3)))[1]
    far = augmented(images, AugmentSpec(aug_mix=AugMix(10, 3)))[1]
    assert np.abs(near - images).mean() < np.abs(far - images).mean()
    assert far.min() >= -0.01
    assert far.max() <= 255.01


def test_aug_mix_gives_every_image_its_own_chains():
    images = np.repeat(smooth(1), 32, axis=0)
    changed = augmented(images, TRANSFORMS["aug_mix"])[1]
    assert len({image.tobytes() for image in changed}) == 32


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_transformed_image_is_a_valid_image(name):
    images = noise(8, (33, 20))
    changed = augmented(images, TRANSFORMS[name])[1]
    assert changed.shape == images.shape
    assert changed.dtype == np.float32
    assert np.isfinite(changed).all()
    assert changed.min() > -1e-2
    assert changed.max() < 255.01


def test_sharpness_zero_is_the_smoothing_filter():
    image = np.round(noise(1)[0])
    smoothed = np.asarray(as_pillow(image).filter(ImageFilter.SMOOTH), np.float32)
    found = pixel_operations.sharpness(tf.constant(image), 0.0).numpy()
    np.testing.assert_allclose(found[1:-1, 1:-1], smoothed[1:-1, 1:-1], atol=1)


def test_values_a_little_out_of_range_stop_no_run():
    """A resized image may overshoot."""
    images = noise(16, (24, 24)) * 1.1 - 10
    for name in ("rand_augment", "aug_mix"):
        assert np.isfinite(augmented(images, TRANSFORMS[name])[1]).all()


def test_the_strongest_geometry_gives_a_valid_image():
    """Horizontal and vertical shear together must not flatten it."""
    spec = AugmentSpec(rotation=180, translation=0.9, scale=2, shear=30)
    changed = augmented(np.repeat(smooth(1, (24, 24)), 200, axis=0), spec, batch_size=50)[1]
    assert np.isfinite(changed).all()
    assert changed.std(axis=(1, 2, 3)).min() > 1
