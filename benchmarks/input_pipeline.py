"""Augmented training batches of CIFAR's size: this project beside torchvision's transforms image by image, on one core.

    python benchmarks/input_pipeline.py

Both give float32 batches, normalised, with labels, from 50,000 random images in memory, with the same crops and flips;
torchvision takes an image as its data sets give it, a PIL image, or as a tensor. They are timed in turn, so that what
else the machine does falls on all alike; a speed is that of the fastest round, by the time that the process had on the
processor. Writes ``input_pipeline.csv`` and ``input_pipeline.md`` to ``--out``.
"""

from collections.abc import Callable, Iterator
from itertools import islice

import torch
from common import argument_parser, fastest, write_table
from PIL import Image
from torchvision.transforms import v2

from ensembles.data import ImageDataModule, LabelledSet
from ensembles.data.augment import CropFlip
from ensembles.data.mixing import Mix
from ensembles.data.rand_augment import RandAugment

IMAGES = 50_000
CLASSES = 100
STATISTICS = [0.5071, 0.4865, 0.4409], [0.2673, 0.2564, 0.2762]


class Random(ImageDataModule):
    """Random images of CIFAR's size and number."""

    in_channels, native_size = 3, 32
    names = tuple(map(str, range(CLASSES)))
    statistics = STATISTICS

    def load(self) -> dict[str, LabelledSet]:
        pixels = torch.randint(0, 256, (IMAGES, 3, 32, 32), dtype=torch.uint8)
        labels = torch.randint(CLASSES, (IMAGES,))
        return {"train": LabelledSet(pixels, labels), "test": LabelledSet(pixels[:1], labels[:1])}


def ours(data: Random) -> Iterator[tuple]:
    for batch in data.train_dataloader():
        yield data.on_after_batch_transfer(batch, 0)


def image_by_image(data: Random, steps: list, from_pil: bool, mix: Callable | None) -> Iterator[tuple]:
    train = data.sets["train"]
    images = train.images.pixels
    if from_pil:
        images = [Image.fromarray(pixels) for pixels in images.permute(0, 2, 3, 1).numpy()]
    transform = v2.Compose([*steps, v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(*STATISTICS)])
    for index in torch.randperm(len(train)).split(data.batch_size):
        x = torch.stack([transform(images[i]) for i in index.tolist()])
        y = train.labels[index]
        yield mix(x, y) if mix else (x, y)


def recipes(batch_size: int) -> dict[str, dict[str, Callable[[], Iterator[tuple]]]]:
    """For each augmentation the ways to do it."""
    crops = [v2.RandomCrop(32, padding=4), v2.RandomHorizontalFlip()]
    mixing = v2.RandomChoice([v2.MixUp(alpha=0.2, num_classes=CLASSES), v2.CutMix(num_classes=CLASSES)])
    kinds = {
        "crop, flip": ({"augment": CropFlip()}, crops, None),
        "crop, flip, RandAugment": ({"augment": CropFlip(then=RandAugment())}, [*crops, v2.RandAugment()], None),
        "crop, flip, mixup or CutMix": ({"augment": CropFlip(), "mix": Mix()}, crops, mixing),
    }
    ways = {}
    for kind, (settings, steps, mix) in kinds.items():
        data = Random(batch_size, val_fraction=0, **settings)
        data.setup("fit")
        ways[kind] = {
            "here": lambda data=data: ours(data),
            "torchvision, PIL": lambda data=data, steps=steps, mix=mix: image_by_image(data, steps, True, mix),
            "torchvision, tensors": lambda data=data, steps=steps, mix=mix: image_by_image(data, steps, False, mix),
        }
    return ways


def images_per_second(ways: dict[str, Callable], batch_size: int, rounds: int, batches: int) -> dict[str, int]:
    running = {name: way() for name, way in ways.items()}
    for iterator in running.values():
        next(iterator)
    works = {name: lambda each=iterator: sum(1 for _ in islice(each, batches)) for name, iterator in running.items()}
    return {name: round(batch_size * batches / seconds) for name, (_, seconds) in fastest(works, rounds).items()}


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--batches", type=int, default=10, help="batches of a round")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rows = []
    for kind, ways in recipes(options.batch_size).items():
        speeds = images_per_second(ways, options.batch_size, options.rounds, options.batches)
        here, *others = speeds.values()
        rows.append({"augmentation": kind, **speeds, "ratio to the faster": here / max(others)})
    text = (
        "Input pipeline\n\n"
        f"Images per second of augmented, normalised 3x32x32 training batches of {options.batch_size} on one core, "
        "beside torchvision's v2 transforms image by image."
    )
    write_table(rows, options.out / "input_pipeline.csv", text)


if __name__ == "__main__":
    main()
