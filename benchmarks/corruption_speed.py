"""How fast four corruptions are at 224x224, beside the program that made ImageNet-C, restated: one image after another.

    pip install opencv-python-headless scikit-image
    python benchmarks/corruption_speed.py

Pixelate, JPEG, defocus and spatter are those on which a batch has least to gain. The released program calls Pillow,
OpenCV and scikit-image for each image. Both get the same images, pieces of scikit-learn's two sample photographs, and
take turns; a time is that of the fastest round, on a processor, with one thread.
Writes ``corruption_speed.csv`` to ``--out``.
"""

from io import BytesIO

import cv2
import numpy as np
import torch
from common import argument_parser, fastest, random_pieces, write_table
from PIL import Image
from skimage.filters import gaussian

from ensembles.data.corruptions import SEVERITIES, corrupt
from ensembles.data.corruptions.constants import IMAGENET
from ensembles.processes import keep_freed_memory

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
    parser = argument_parser(__doc__)
    parser.add_argument("--images", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()  # as a run does
    cv2.setNumThreads(1)
    images = [Image.fromarray(piece) for piece in random_pieces(options.images, SIDE, SIDE)]
    batch = torch.from_numpy(np.stack([np.array(image) for image in images])).movedim(-1, 1).contiguous()
    rows = []
    for released in RELEASED:
        name = released.__name__
        for severity, constants in zip(SEVERITIES, IMAGENET[name], strict=True):
            ways = {
                "here": lambda name=name, severity=severity: corrupt(batch, name, severity),
                "released": lambda one=released, constants=constants: [one(image, constants) for image in images],
            }
            times = {way: 1000 * seconds / len(images) for way, (_, seconds) in fastest(ways, options.rounds).items()}
            row = {"type": name, "severity": severity} | {f"{way}, ms an image": ms for way, ms in times.items()}
            rows.append(row | {"ratio": times["released"] / times["here"]})
            print(rows[-1], flush=True)
    write_table(rows, options.out / "corruption_speed.csv")


if __name__ == "__main__":
    main()
