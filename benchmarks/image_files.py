"""Training batches from image files: this project on ImageNet's layout beside torchvision's ImageFolder and DataLoader.

    python benchmarks/image_files.py

Both read the same JPEGs of 500x375 pixels, pieces of scikit-learn's two sample photographs, take a random piece of each
at 224x224, mirror it, and give normalised float32 batches with labels. A pass starts its workers anew, as each epoch
does. Passes alternate, so that what else the machine does falls on both alike; a speed is that of the fastest pass, by
the clock and by the time that all its processes had on a processor, which on a busy machine is the one to trust.
Writes ``image_files.csv`` to ``--out``.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from common import argument_parser, fastest, random_pieces, write_table
from PIL import Image
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from ensembles.data.class_folders import synsets
from ensembles.data.imagenet import ImageNet
from ensembles.data.imagenet_views import InceptionCrop


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--images", type=int, default=768)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    with TemporaryDirectory() as folder:
        write_images(Path(folder), options.images)
        for workers in options.workers:
            ways = {"here": here(folder, options, workers), "torchvision": by_torchvision(folder, options, workers)}
            times = fastest(ways, options.rounds)
            seen, row = options.images // options.batch_size * options.batch_size, {"workers": workers}
            for k, clock in enumerate(("clock", "processor")):
                row |= {f"{name}, {clock}": round(seen / seconds[k]) for name, seconds in times.items()}
                row[f"ratio, {clock}"] = times["torchvision"][k] / times["here"][k]
            rows.append(row)
            print(row, flush=True)
    write_table(rows, options.out / "image_files.csv")


def write_images(root: Path, number: int) -> None:
    for k, piece in enumerate(random_pieces(number, 375, 500)):
        for part in ("train", "val")[: 2 if k < 2 else 1]:
            folder = root / part / synsets()[k % 2]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(piece).save(folder / f"{k}.JPEG", quality=95)


def here(root: str, options: argparse.Namespace, workers: int) -> Callable[[], list]:
    """An epoch of this project's, as a list of its batches' sizes."""
    settings = {"augment": InceptionCrop(), "num_workers": workers, "val_fraction": 0}
    data = ImageNet(options.batch_size, root=root, classes=synsets()[:2], **settings)
    data.setup("fit")
    return lambda: [len(data.on_after_batch_transfer(batch, 0)[0]) for batch in data.train_dataloader()]


def by_torchvision(root: str, options: argparse.Namespace, workers: int) -> Callable[[], list]:
    """The same of torchvision's."""
    steps = [transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip(), transforms.ToTensor()]
    images = ImageFolder(f"{root}/train", transforms.Compose([*steps, transforms.Normalize(*ImageNet.statistics)]))
    loader = DataLoader(images, options.batch_size, shuffle=True, num_workers=workers, drop_last=True)
    return lambda: [len(x) for x, _ in loader]


if __name__ == "__main__":
    main()
