"""Corruptions from outside: what comes out for which batch, size and seed, how strong it is, and what is refused."""

from importlib import resources

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter
from sklearn.datasets import load_digits, load_sample_images

from ensembles.data import corruptions
from ensembles.data.corruptions import EXTRA, STANDARD, blur, corrupt, ops, weather
from ensembles.data.corruptions.constants import CIFAR, IMAGENET
from ensembles.errors import UserError

ALL = STANDARD + EXTRA
RANDOM = {
    *("gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise", "glass_blur", "motion_blur"),
    *("snow", "frost", "fog", "elastic_transform", "spatter"),
}
MIXING = [  # an image's own pixels, in all channels alike
    *("defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "gaussian_blur"),
    *("contrast", "elastic_transform", "pixelate"),
]


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    """30 small pieces of photographs, (30, 3, 32, 32)."""
    pieces = []
    for photograph in load_sample_images().images:
        picture = Image.fromarray(photograph).resize((160, 107))
        array = torch.from_numpy(np.array(picture)).movedim(-1, 0)
        pieces += [array[:, y : y + 32, x : x + 32] for y in (0, 36, 72) for x in range(0, 160, 32)]
    return torch.stack(pieces)


@pytest.fixture(scope="module")
def digits() -> torch.Tensor:
    return torch.from_numpy(load_digits().images[:20] * 255 / 16).round().byte()[:, None]


def strength(images: torch.Tensor, table: dict, name: str) -> list[float]:
    out = (corrupt(images, name, s, table=table) for s in range(1, 6))
    return [(o.float() - images.float()).abs().mean().item() for o in out]


def test_the_names_are_the_benchmarks():
    assert len(STANDARD) == 15 and len(EXTRA) == 4
    assert set(ALL) == set(CIFAR) == set(IMAGENET)
    assert all(len(table[name]) == 5 for table in (CIFAR, IMAGENET) for name in ALL)


@pytest.mark.parametrize("name", ALL)
def test_an_image_comes_out_the_same_in_any_batch(images, name, monkeypatch):
    few = images[:7]
    whole = corrupt(few, name, 3, seed=5)
    assert whole.dtype == torch.uint8 and whole.shape == few.shape
    assert torch.equal(corrupt(few, name, 3, seed=5), whole)
    parts = [corrupt(few[a:b], name, 3, seed=5, start=a) for a, b in ((0, 1), (1, 3), (3, 7))]
    assert torch.equal(torch.cat(parts), whole)
    monkeypatch.setattr(corruptions, "_VALUES", 2 * few[0].numel())
    assert torch.equal(corrupt(few, name, 3, seed=5), whole)
    assert torch.equal(corrupt(few, name, 3, seed=6), whole) == (name not in RANDOM)


@pytest.mark.parametrize("name", sorted(RANDOM))
def test_images_of_a_set_differ_in_their_randomness(images, name):
    same = images[:1].expand(6, -1, -1, -1).contiguous()
    assert len({tuple(image.flatten().tolist()) for image in corrupt(same, name, 3)}) > 1


@pytest.mark.parametrize("name", ALL)
def test_the_image_itself_is_left_alone(images, name):
    few = images[:2].clone()
    out = corrupt(few, name, 5)
    assert torch.equal(few, images[:2]) and not torch.equal(out, few)


# The benchmark's own constants are not monotone in the mean change of these.
@pytest.mark.parametrize(
    "name", sorted({*ALL} - {"glass_blur", "motion_blur", "frost", "elastic_transform", "spatter", "saturate"})
)
def test_each_severity_is_stronger_than_the_last(images, name):
    measured = strength(images, CIFAR, name)
    assert measured == sorted(set(measured))


def test_large_images_get_the_stronger_constants(images):
    assert corruptions.table_for(torch.empty(1, 3, 64, 64)) is CIFAR
    assert corruptions.table_for(torch.empty(1, 3, 65, 40)) is IMAGENET
    small = (corrupt(images, "contrast", 1).float() - images).abs().mean()
    large = images.repeat_interleave(3, -1).repeat_interleave(3, -2)
    assert (corrupt(large, "contrast", 1).float() - large).abs().mean() > 2 * small


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("shape", [(3, 70, 90), (1, 66, 65)])
def test_large_oblong_images_work_at_the_top_severity(name, shape):
    images = torch.randint(0, 256, (2, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    out = corrupt(images, name, 5)
    assert out.shape == images.shape and out.dtype == torch.uint8


@pytest.mark.parametrize("constants", IMAGENET["defocus_blur"])
@pytest.mark.parametrize("size", [(70, 90), (65, 61)])
def test_a_disk_is_convolved_as_its_definition_says(constants, size):
    """Large disks take another way than small ones."""
    x = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    kernel = blur._disk(*constants)
    reach = len(kernel) // 2
    padded = np.pad(x.double().numpy(), [(0, 0), (0, 0), (reach, reach), (reach, reach)], mode="reflect")
    pieces = np.lib.stride_tricks.sliding_window_view(padded, kernel.shape, axis=(-2, -1))
    expected = torch.from_numpy(np.einsum("nchwij,ij->nchw", pieces, kernel.double().numpy()))
    assert torch.allclose(blur.defocus_blur(x, constants, None).double(), expected, atol=2e-6)


@pytest.mark.parametrize("sigma", [0.4, 3, 20])
@pytest.mark.parametrize(("border", "mode"), [("nearest", "nearest"), ("mirror", "reflect")])
def test_a_gaussian_blur_is_scipys(sigma, border, mode):
    x = torch.rand(2, 3, 70, 33, generator=torch.Generator().manual_seed(0))
    expected = gaussian_filter(x.double().numpy(), sigma, axes=(2, 3), mode=mode, truncate=3)
    blurred = ops.gaussian_blur_of(x, sigma, border, truncate=3).double()
    assert torch.allclose(blurred, torch.from_numpy(expected), atol=1e-6)


@pytest.mark.parametrize("name", ALL)
def test_digits_of_8x8_grey_pixels_are_corrupted(digits, name):
    changed = [not torch.equal(corrupt(digits, name, s), digits) for s in range(1, 6)]
    # A grey image has no saturation, and a zoom by up to 1.06 moves no pixel of so small an image.
    assert changed == {"saturate": [False] * 5, "zoom_blur": [False, True, True, True, True]}.get(name, [True] * 5)


@pytest.mark.parametrize("name", [*MIXING, "snow", "fog", "brightness"])
def test_a_grey_image_is_a_colour_image_with_equal_channels(digits, name):
    colour = corrupt(digits.expand(-1, 3, -1, -1).contiguous(), name, 3)
    grey = corrupt(digits, name, 3).expand(-1, 3, -1, -1)
    assert (colour.int() - grey.int()).abs().max() <= 1


@pytest.mark.parametrize("name", MIXING)
@pytest.mark.parametrize("level", [0, 137, 255])
def test_a_flat_image_stays_flat(name, level):
    flat = torch.full((2, 3, 24, 24), level, dtype=torch.uint8)
    assert all(torch.equal(corrupt(flat, name, s), flat) for s in (1, 3, 5))


@pytest.mark.parametrize("name", ["gaussian_noise", "shot_noise", "speckle_noise", "brightness", "snow", "frost"])
def test_what_leaves_the_range_is_clipped_not_wrapped(name):
    white = torch.full((4, 3, 32, 32), 255, dtype=torch.uint8)
    out = corrupt(white, name, 1)
    assert (out == 255).float().mean() > 0.3 and out.min() > 100


def test_no_images_give_no_images():
    none = torch.empty(0, 3, 32, 32, dtype=torch.uint8)
    assert corrupt(none, "shot_noise", 1).shape == none.shape


@pytest.mark.parametrize(
    ("name", "near"), [("gausian_noise", "gaussian_noise"), ("jpeg", "jpeg_compression"), ("Fog", "fog")]
)
def test_a_typo_names_the_near_matches(images, name, near):
    with pytest.raises(UserError, match=near):
        corrupt(images, name, 1)


@pytest.mark.parametrize("severity", [0, 6, True, 2.5, 3.0, "3", None])
def test_a_severity_is_one_of_five(images, severity):
    with pytest.raises(UserError, match="severity of fog"):
        corrupt(images, "fog", severity)


@pytest.mark.parametrize(
    "wrong",
    [
        torch.zeros(2, 3, 32, 32),
        torch.zeros(3, 32, 32).byte(),
        torch.zeros(2, 2, 32, 32).byte(),
        torch.zeros(2, 3, 7, 9).byte(),
    ],
)
def test_images_of_another_kind_are_refused(wrong):
    with pytest.raises(UserError, match="images to corrupt"):
        corrupt(wrong, "fog", 1)


def test_frost_without_its_photographs_names_the_package(images, monkeypatch):
    def missing(package):
        raise ModuleNotFoundError(package)

    monkeypatch.setattr(resources, "files", missing)
    for cached in (weather._scaled, weather._photographs):
        cached.cache_clear()
    with pytest.raises(UserError, match="torch-uncertainty-assets"):
        corrupt(images, "frost", 1)
