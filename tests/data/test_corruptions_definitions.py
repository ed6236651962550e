"""Each corruption against its definition, computed another way (NumPy, SciPy, Pillow, colorsys, or by hand)."""

import colorsys
import io
from importlib import resources

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from ensembles.data.corruptions import blur, corrupt, digital, weather
from ensembles.data.corruptions.constants import CIFAR, IMAGENET
from ensembles.data.corruptions.ops import Draws

FLAT = torch.full((16, 3, 32, 32), 128, dtype=torch.uint8)


class Given:
    """Draws that are given, in the order of their use."""

    def __init__(self, *values):
        self.values = list(values)

    def _next(self, *_):
        return self.values.pop(0)

    normal = uniform = integers = _next


@pytest.fixture(scope="module")
def noise_images() -> torch.Tensor:
    return torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def random(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(2))


def test_draws_of_an_image_follow_from_its_index():
    def draw(start, size):
        draws = Draws(3, "purpose", start=start, size=size, device=torch.device("cpu"))
        return draws.normal(5), draws.uniform(2, 2), draws.integers(-2, 2, 6), draws.poisson(torch.full((size, 4), 9.0))

    for whole, part in zip(draw(0, 4), draw(2, 2), strict=True):
        assert torch.equal(whole[2:], part) and not torch.equal(whole[0], whole[1])
    assert {-2, -1, 0, 1} >= set(draw(0, 50)[2].flatten().tolist())


@pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])
def test_noise_has_its_published_spread(severity):
    def spread(name):
        return (corrupt(FLAT, name, severity).double() / 255).std().item()

    grey = 128 / 255
    assert spread("gaussian_noise") == pytest.approx(CIFAR["gaussian_noise"][severity - 1], rel=0.01)
    assert spread("speckle_noise") == pytest.approx(grey * CIFAR["speckle_noise"][severity - 1], rel=0.01)
    assert spread("shot_noise") == pytest.approx((grey / CIFAR["shot_noise"][severity - 1]) ** 0.5, rel=0.02)


def test_shot_noise_counts_photons():
    levels = (corrupt(FLAT.repeat_interleave(3, -1).repeat_interleave(3, -2), "shot_noise", 5).double() / 255).unique()
    assert torch.allclose(levels, torch.tensor([0, 1 / 3, 2 / 3, 1], dtype=torch.double), atol=1 / 255)


def test_impulse_noise_replaces_its_share_of_values_channel_by_channel():
    out = corrupt(FLAT, "impulse_noise", 5)
    changed = out != 128
    assert changed.double().mean().item() == pytest.approx(0.07, rel=0.05)
    assert set(out.unique().tolist()) == {0, 128, 255}
    assert (out == 255).sum() / changed.sum() == pytest.approx(0.5, abs=0.03)
    assert (changed[:, 0] & changed[:, 1]).double().mean().item() == pytest.approx(0.07**2, rel=0.3)


def test_contrast_shrinks_the_distance_from_each_channels_mean(noise_images):
    x = noise_images.double() / 255
    mean = x.mean((2, 3), keepdim=True)
    expected = ((x - mean) * 0.15 + mean) * 255
    assert (corrupt(noise_images, "contrast", 5) - expected.floor()).abs().max() <= 1
    assert (corrupt(noise_images, "contrast", 5) - (expected - 0.5)).mean().abs() < 0.02


@pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])
def test_brightness_and_saturation_are_hsv(noise_images, severity):
    image = noise_images[:1, :, :12, :12].clone()
    image[0, :, 0, :4] = torch.tensor([0, 1, 90, 255])  # grey pixels, black and white
    factor, added = CIFAR["saturate"][severity - 1]
    brighter, saturated = np.empty((12, 12, 3)), np.empty((12, 12, 3))
    for y in range(12):
        for x in range(12):
            h, s, v = colorsys.rgb_to_hsv(*(image[0, :, y, x].double() / 255).tolist())
            brighter[y, x] = colorsys.hsv_to_rgb(h, s, min(1, v + CIFAR["brightness"][severity - 1]))
            saturated[y, x] = colorsys.hsv_to_rgb(h, min(1, s * factor + added), v)
    for name, expected in (("brightness", brighter), ("saturate", saturated)):
        out = corrupt(image, name, severity)[0].movedim(0, -1).numpy()
        assert np.all(np.abs(out - np.floor(expected * 255)) <= 1)
        assert np.abs(out - np.floor(expected * 255 + 1e-3)).mean() < 0.01


@pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("shape", [(32, 32), (37, 41), (70, 90)])
def test_pixelate_is_pillows_box(severity, shape):
    image = torch.randint(0, 256, (1, 3, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    share = (CIFAR if max(shape) <= 64 else IMAGENET)["pixelate"][severity - 1]
    size = shape[::-1]
    picture = Image.fromarray(image[0].movedim(0, -1).numpy())
    picture = picture.resize([int(side * share) for side in size], Image.Resampling.BOX).resize(
        size, Image.Resampling.BOX
    )
    assert np.array_equal(corrupt(image, "pixelate", severity)[0].movedim(0, -1).numpy(), np.asarray(picture))


def test_jpeg_has_its_published_quality(noise_images):
    smooth = corrupt(noise_images, "gaussian_blur", 5)
    for severity, quality in enumerate((80, 65, 58, 50, 40), start=1):
        file = io.BytesIO()
        Image.fromarray(smooth[0].movedim(0, -1).numpy()).save(file, "JPEG", quality=quality)
        expected = np.asarray(Image.open(file)).astype(int)
        out = corrupt(smooth, "jpeg_compression", severity)[0].movedim(0, -1).numpy()
        assert np.abs(out - expected).mean() < 0.5


def test_gaussian_blur_is_scipys(noise_images):
    for severity, sigma in enumerate((0.4, 0.6, 0.7, 0.8, 1), start=1):
        expected = ndimage.gaussian_filter(noise_images.double().numpy(), (0, 0, sigma, sigma), mode="nearest")
        assert (
            np.abs(corrupt(noise_images, "gaussian_blur", severity).numpy() - np.floor(expected + 1e-3)).mean() < 1e-4
        )


def test_defocus_by_hand(noise_images):
    x = noise_images.double().numpy()
    box = ndimage.uniform_filter(x, (0, 0, 3, 3), mode="mirror")
    assert np.abs(corrupt(noise_images, "defocus_blur", 5).numpy() - np.floor(box + 1e-3)).mean() < 1e-3
    cross = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]])[None, None] / 5
    near = ndimage.convolve(x, cross, mode="mirror")
    assert np.abs(corrupt(noise_images, "defocus_blur", 4).numpy() - np.floor(near + 1e-3)).mean() < 1e-2
    large = blur._disk(10, 0.5)
    assert large.shape == (21, 21) and large.sum().item() == pytest.approx(1, abs=0.02)
    assert large[10, 10] == large[10, 4] > large[10, 0] > 0 == large[0, 0]


def test_zoom_blur_is_the_mean_of_scipys_zooms(noise_images):
    x = noise_images[0].double().numpy() / 255
    factors = np.arange(1, 1.11, 0.01)
    total = x.copy()
    for factor in factors:
        kept = int(np.ceil(32 / factor))
        top = (32 - kept) // 2
        zoomed = ndimage.zoom(x[:, top : top + kept, top : top + kept], (1, factor, factor), order=1)
        trim = (zoomed.shape[1] - 32) // 2
        total += zoomed[:, trim : trim + 32, trim : trim + 32]
    expected = total / (len(factors) + 1)
    assert len(factors) == 12
    assert np.abs(blur.zoom_blur(noise_images[:1].float() / 255, (1.11, 0.01), None)[0].numpy() - expected).max() < 1e-4


def test_motion_is_half_a_gaussian_towards_the_angle():
    dot = torch.zeros(1, 1, 41, 41)
    dot[..., 20, 20] = 1
    weights = np.exp(-(np.arange(13) ** 2) / (2 * 2.0**2))
    weights = torch.from_numpy(weights / weights.sum()).float()
    for angle, line in ((0.0, (20, slice(8, 21))), (-90.0, (slice(20, 33), 20))):
        out = blur.trail(dot, 6, 2.0, torch.tensor([angle]))[0, 0]
        trail = out[line].flip(0) if angle == 0 else out[line]
        assert torch.allclose(trail, weights, atol=1e-6) and out.sum().item() == pytest.approx(1, abs=1e-5)


def test_motion_blur_is_within_45_degrees_of_the_horizontal():
    dot = torch.zeros(3, 1, 41, 41)
    dot[..., 20, 20] = 1
    out = blur.motion_blur(dot, (6, 2.0), Given(torch.tensor([0.0, 0.5, 1.0])))[:, 0]
    assert out[0, 23, 17] > 0 and out[1, 20, 17] > 0 and out[2, 17, 17] > 0


@pytest.mark.parametrize("constants", [(0.4, 1, 2), (0.7, 3, 2), (1.5, 4, 1)])
def test_glass_visits_pixels_one_by_one(noise_images, constants):
    sigma, reach, passes = constants
    x = noise_images[:2].float() / 255
    inner = 32 - 2 * reach
    moves = [
        torch.randint(-reach, reach, (2, 2, inner, inner), generator=torch.Generator().manual_seed(i))
        for i in range(passes)
    ]
    blurred = ndimage.gaussian_filter(x.double().numpy() * 255, (0, 0, sigma, sigma), mode="nearest")
    expected = np.floor(blurred + 1e-3) / 255
    for n in range(2):
        for move in moves:
            for y in range(32 - reach, reach, -1):
                for z in range(32 - reach, reach, -1):
                    dx, dy = move[n, :, y - reach - 1, z - reach - 1].tolist()
                    expected[n, :, y, z] = expected[n, :, y + dy, z + dx]
    expected = ndimage.gaussian_filter(expected, (0, 0, sigma, sigma), mode="nearest")
    out = blur.glass_blur(x, constants, Given(*moves)).numpy()
    assert np.abs(out - expected).mean() < 1e-4


def test_elastic_shifts_where_all_corners_shift(noise_images):
    x = noise_images.float() / 255
    out = digital.elastic_transform(x, (0, 0, 2 / 32), Given(torch.ones(4, 3, 2)))
    assert torch.allclose(out[..., 2:, 2:], x[..., :-2, :-2], atol=1e-4)
    assert torch.allclose(out[..., 0, 2:], x[..., 2, :-2], atol=1e-4)  # mirrored at the border, the edge pixel once


def test_elastic_displacements_are_scipys(noise_images):
    x = noise_images[:1].float() / 255
    noise = random(1, 2, 32, 32)
    out = digital.elastic_transform(x, (0.1, 0.03, 0), Given(torch.full((1, 3, 2), 0.5), noise))
    dx, dy = (
        3.2 * ndimage.gaussian_filter(2 * part.double().numpy() - 1, 0.96, mode="reflect", truncate=3)
        for part in noise[0]
    )
    rows, columns = np.meshgrid(np.arange(32), np.arange(32), indexing="ij")
    expected = [
        ndimage.map_coordinates(plane, (rows + dy, columns + dx), order=1, mode="reflect") for plane in x[0].numpy()
    ]
    assert np.abs(out[0].numpy() - np.stack(expected)).max() < 1e-3


def test_fog_is_a_diamond_square_plasma():
    noise = 2 * random(1, 16, 16) - 1
    amplitude, step, heights = 100.0, 16, np.zeros((16, 16))
    given = noise[0].double().numpy()
    while step >= 2:
        half = step // 2
        for kind in ("middle", "edge"):
            for y in range(0, 16, half):
                for x in range(0, 16, half):
                    odd = (y // half) % 2, (x // half) % 2
                    if kind == "middle" and odd == (1, 1):
                        around = [(-half, -half), (-half, half), (half, -half), (half, half)]
                    elif kind == "edge" and sum(odd) == 1:
                        around = [(-half, 0), (half, 0), (0, -half), (0, half)]
                    else:
                        continue
                    mean = np.mean([heights[(y + a) % 16, (x + b) % 16] for a, b in around])
                    heights[y, x] = mean + amplitude**2 * given[y, x]
        step, amplitude = half, amplitude / 2
    heights = (heights - heights.min()) / np.ptp(heights)
    assert np.abs(weather._plasma(noise, 2)[0].numpy() - heights).max() < 1e-5

    x = random(1, 3, 16, 16)
    out = weather.fog(x, (1.5, 2), Given((noise + 1) / 2))
    assert (
        np.abs(out[0].numpy() - (x[0].numpy() + 1.5 * heights) * x.max().item() / (x.max().item() + 1.5)).max() < 1e-5
    )


def test_snow_without_flakes_only_pales(noise_images):
    x = noise_images[:1].float() / 255
    out = weather.snow(x, (0.1, 0.2, 1, 9.0, 8, 3, 0.6), Given(random(1, 1, 32, 32), random(1)))
    luma = x[:, 0] * 0.299 + x[:, 1] * 0.587 + x[:, 2] * 0.114
    assert torch.allclose(out, 0.6 * x + 0.4 * torch.maximum(x, (1.5 * luma + 0.5)[:, None]), atol=1e-5)


def test_snow_flakes_come_twice_the_second_time_turned():
    black = torch.zeros(1, 3, 33, 33)
    flakes = torch.full((1, 1, 33, 33), -9.0)
    flakes[0, 0, 5, 5] = 9
    out = weather.snow(black, (0, 1, 1, 0.5, 4, 1, 1.0), Given(flakes, torch.tensor([0.5])))[0, 0]
    assert torch.allclose(out, out.flip(0, 1)) and out[5, 5] > out[6, 5] > 0 and out[4, 5] == 0
    assert out.sum().item() == pytest.approx(2, abs=0.05)


def test_frost_adds_a_piece_of_a_photograph():
    x = random(2, 3, 40, 50)
    out = weather.frost(x, (0.5, 0.25, 1), Given(torch.tensor([[0.0, 0, 0], [0.99, 0.5, 0.25]])))
    for index, name in ((0, "frost1.jpg"), (1, "frost5.jpg")):
        with resources.as_file(resources.files("torch_uncertainty_assets.frost") / name) as file:
            photograph = np.asarray(Image.open(file).convert("RGB")) / 255
        height, width, _ = photograph.shape
        top, left = ((0, 0), (int(0.5 * (height - 40)), int(0.25 * (width - 50))))[index]
        piece = photograph[top : top + 40, left : left + 50].transpose(2, 0, 1)
        assert np.abs(out[index].numpy() - 0.5 * x[index].numpy() - 0.25 * piece).max() < 0.02


def test_frost_photographs_shrink_or_grow_to_the_image():
    where = torch.tensor([[0.5, 0.99, 0.99]])
    assert weather.frost_crops(torch.Size((1, 3, 64, 64)), 0.2, where).shape == (1, 3, 64, 64)
    assert weather.frost_crops(torch.Size((1, 1, 700, 1000)), 1, where).shape == (1, 1, 700, 1000)


def test_mud_is_brown_and_water_turquoise():
    black = torch.zeros(8, 3, 32, 32, dtype=torch.uint8)
    mud = corrupt(black, "spatter", 5)
    covered = mud[:, 0] > 0
    assert 0 < covered.float().mean() < 0.5
    pure = mud.movedim(1, -1)[covered].double()
    assert torch.allclose(pure / pure[:, :1], torch.tensor([1, 42 / 63, 20 / 63], dtype=torch.double), atol=0.03)
    water = corrupt(black, "spatter", 3)
    wet = water[:, 0] > 60
    assert wet.any() and torch.equal(water[:, 1], water[:, 2]) and (water[:, 1][wet] > water[:, 0][wet]).all()


def test_edges_are_thin_and_linked():
    step = torch.zeros(1, 1, 12, 12)
    step[..., 6:] = 255
    assert weather._edges(step)[0, 0].sum(1).tolist() == [1] * 12
    weak = torch.zeros(1, 1, 12, 12)
    weak[..., 6:] = 20  # a gradient of 80: between the two thresholds
    assert not weather._edges(weak).any()
    weak[..., :3, 6:] = 255
    assert weather._edges(weak)[0, 0, -1].any()  # now linked to a strong edge above


def test_distance_and_histogram_are_the_textbooks(noise_images):
    edges = random(3, 1, 32, 48) > 0.995
    edges[2] = False
    expected = [np.minimum(ndimage.distance_transform_edt(~e[0].numpy()), 20) for e in edges[:2]]
    assert np.abs(weather._distance(edges)[:2, 0].numpy() - np.stack(expected)).max() < 1e-5
    assert (weather._distance(edges)[2] == 20).all()

    levels = (noise_images[:2, :1] // 3 + 40).float()
    levels[1] = 7
    flat = levels[0].flatten().numpy()
    below = np.array([(flat <= v).sum() for v in flat])
    first = (flat == flat.min()).sum()
    out = weather._equalise(levels)
    assert np.abs(out[0].flatten().numpy() - np.round(255 * (below - first) / (flat.size - first))).max() <= 1
    assert (out[0].min(), out[0].max()) == (0, 255) and (out[1] == 7).all()
