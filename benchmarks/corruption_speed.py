"""How fast four corruptions are at 224x224, beside the program that made ImageNet-C, restated: one image after another.

    pip install opencv-python-headless scikit-image
    python benchmarks/corruption_speed.py

Pixelate, JPEG, defocus and spatter are those on which a batch has least to gain. The released program calls Pillow,
OpenCV and scikit-image for each image. Both get the same images, pieces of scikit-learn's two sample photographs, and
take turns; a speed is that of the fastest round, by the time that the process had on the processor, with one thread.
Writes ``corruption_speed.csv`` to ``--out``.
"""

import argparse
import csv
import shlex
import sys
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from skimage.filters import gaussian
from sklearn.datasets import load_sample_images

sys.path.insert(0, str(Path(__file__).parents[1]))  # a checkout works without being installed

from ensembles.data.corruptions import SEVERITIES, corrupt
from ensembles.data.corruptions.constants import IMAGENET
from ensembles.processes import keep_freed_memory
from ensembles.provenance import hardware

SIDE = 224
EMBOSS = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])


def pixelate(image: Image.Image, share: float) -> np.ndarray:
    small = image.resize((int(SIDE * share),) * 2, Image.Resampling.BOX)
    return np.uint8(small.resize((SIDE, SIDE), Image.Resampling.BOX))


def jpeg_compression(image: Image.Image, quality: int) -> np.ndarray:
    file = BytesIO()
    image.save(file, "JPEG", quality=quality)
    return np.uint8(Image.open(file))


def defocus_blur(image: Image.Image, constants: tuple) -> np.ndarray:
    radius, softness = constants
    axis = np.arange(-max(8, radius), max(8, radius) + 1)
    disk = (axis[:, None] ** 2 + axis**2 <= radius**2).astype(np.float32)
    kernel = cv2.GaussianBlur(disk / disk.sum(), (3, 3) if radius <= 8 else (5, 5), softness)
    x = np.array(image) / 255.0
    channels = [cv2.filter2D(x[:, :, channel], -1, kernel) for channel in range(3)]
    return np.uint8(np.clip(np.stack(channels, -1), 0, 1) * 255)


def spatter(image: Image.Image, constants: tuple) -> np.ndarray:
    mean, deviation, sigma, threshold, strength, is_mud = constants
    x = np.array(image, np.float32) / 255
    liquid = gaussian(np.random.normal(mean, deviation, x.shape[:2]), sigma)
    if is_mud:
        cover = gaussian((liquid > threshold).astype(np.float32), strength)
        cover[cover < 0.8] = 0
        mud = np.ones_like(x) * np.array([63, 42, 20], np.float32) / 255
        return np.uint8(np.clip(x * (1 - cover[..., None]) + mud * cover[..., None], 0, 1) * 255)
    liquid[liquid < threshold] = 0
    liquid = (liquid * 255).astype(np.uint8)
    distance = cv2.distanceTransform(255 - cv2.Canny(liquid, 50, 150), cv2.DIST_L2, 5)
    near = cv2.equalizeHist(cv2.blur(np.minimum(distance, 20), (3, 3)).astype(np.uint8))
    texture = cv2.blur(cv2.filter2D(near, cv2.CV_8U, EMBOSS), (3, 3)).astype(np.float32)
    gloss = cv2.cvtColor(liquid.astype(np.float32) * texture, cv2.COLOR_GRAY2BGRA)
    gloss *= strength / max(gloss.max(), 1e-9)
    water = np.ones_like(gloss) * np.array([175 / 255, 238 / 255, 238 / 255, 1], np.float32)
    wet = np.clip(cv2.cvtColor(x, cv2.COLOR_BGR2BGRA) + gloss * water, 0, 1)
    return np.uint8(cv2.cvtColor(wet, cv2.COLOR_BGRA2BGR) * 255)


RELEASED = [pixelate, jpeg_compression, defocus_blur, spatter]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()  # as a run does
    cv2.setNumThreads(1)
    images = photographs(options.images)
    batch = torch.from_numpy(np.stack([np.array(image) for image in images])).movedim(-1, 1).contiguous()
    rows = []
    for released in RELEASED:
        for severity in SEVERITIES:
            constants = IMAGENET[released.__name__][severity - 1]
            ways = {
                "here": lambda type=released.__name__, severity=severity: corrupt(batch, type, severity),
                "released": lambda one=released, constants=constants: [one(image, constants) for image in images],
            }
            ours, theirs = fastest(ways, options.rounds)
            rows.append(
                {"type": released.__name__, "severity": severity, "here, ms an image": round(ours / len(images), 2)}
            )
            rows[-1] |= {"released, ms an image": round(theirs / len(images), 2), "ratio": round(theirs / ours, 2)}
            print(rows[-1], flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    with open(options.out / "corruption_speed.csv", "w", newline="") as file:
        file.write(f"# python {shlex.join(sys.argv)}\n# {hardware()}; torch {torch.__version__}\n")
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def photographs(number: int) -> list[Image.Image]:
    whole, drawing = load_sample_images().images, np.random.default_rng(0)
    corners = drawing.integers(0, (427 - SIDE, 640 - SIDE), (number, 2))
    return [
        Image.fromarray(whole[k % 2][top : top + SIDE, left : left + SIDE]) for k, (top, left) in enumerate(corners)
    ]


def fastest(ways: dict[str, Callable], rounds: int) -> list[float]:
    """Milliseconds on the processor of each way's fastest round."""
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(rounds):
        for name, way in ways.items():
            started = time.process_time()
            way()
            best[name] = min(best[name], 1000 * (time.process_time() - started))
    return list(best.values())


if __name__ == "__main__":
    main()
