"""Training batches from image files: this project on ImageNet's layout beside torchvision's ImageFolder and DataLoader.

    python benchmarks/image_files.py

Both read the same JPEGs of 500x375 pixels, pieces of scikit-learn's two sample photographs, take a random piece of each
at 224x224, mirror it, and give normalised float32 batches with labels. A pass starts its workers anew, as each epoch
does. Passes alternate, so that what else the machine does falls on both alike; a speed is that of the fastest pass, by
the clock and by the time that all its processes had on a processor, which on a busy machine is the one to trust.
Writes ``image_files.csv`` to ``--out``.
"""

import argparse
import csv
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_sample_images
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

sys.path.insert(0, str(Path(__file__).parents[1]))  # a checkout works without being installed

from ensembles.data.class_folders import synsets
from ensembles.data.imagenet import ImageNet
from ensembles.data.imagenet_views import InceptionCrop
from ensembles.provenance import hardware


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=768)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    with TemporaryDirectory() as folder:
        write_images(Path(folder), options.images)
        for workers in options.workers:
            ways = {"here": here(folder, options, workers), "torchvision": by_torchvision(folder, options, workers)}
            rows.append({"workers": workers, **measure(ways, options)})
            print(rows[-1], flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    with open(options.out / "image_files.csv", "w", newline="") as file:
        file.write(f"# python {shlex.join(sys.argv)}\n# {hardware()}; torch {torch.__version__}\n")
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def write_images(root: Path, number: int) -> None:
    photographs, drawing = load_sample_images().images, np.random.default_rng(0)
    for k in range(number):
        photograph = photographs[k % 2]
        top, left = (drawing.integers(0, photograph.shape[axis] - side + 1) for axis, side in enumerate((375, 500)))
        piece = Image.fromarray(photograph[top : top + 375, left : left + 500])
        for part in ("train", "val")[: 2 if k < 2 else 1]:
            folder = root / part / synsets()[k % 2]
            folder.mkdir(parents=True, exist_ok=True)
            piece.save(folder / f"{k}.JPEG", quality=95)


def here(root: str, options: argparse.Namespace, workers: int) -> Callable[[], Iterable]:
    classes = synsets()[:2]
    data = ImageNet(options.batch_size, root=root, classes=classes, augment=InceptionCrop(), num_workers=workers)
    data.val_fraction = 0
    data.setup("fit")
    return lambda: (data.on_after_batch_transfer(batch, 0) for batch in data.train_dataloader())


def by_torchvision(root: str, options: argparse.Namespace, workers: int) -> Callable[[], Iterable]:
    steps = [transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip(), transforms.ToTensor()]
    images = ImageFolder(f"{root}/train", transforms.Compose([*steps, transforms.Normalize(*ImageNet.statistics)]))
    return lambda: DataLoader(images, options.batch_size, shuffle=True, num_workers=workers, drop_last=True)


def measure(ways: dict[str, Callable[[], Iterable]], options: argparse.Namespace) -> dict[str, float]:
    """Images per second of each way, by the clock and by the processor, and how many times torchvision's ours are."""
    best = {name: [float("inf")] * 2 for name in ways}
    for _ in range(options.rounds):
        for name, way in ways.items():
            started, before, images = time.perf_counter(), on_processor(), 0
            for x, _ in way():
                images += len(x)
            spent = (time.perf_counter() - started) / images, (on_processor() - before) / images
            best[name] = [min(pair) for pair in zip(best[name], spent, strict=True)]
    row = {}
    for k, clock in enumerate(("clock", "processor")):
        row |= {f"{name}, {clock}": round(1 / spent[k]) for name, spent in best.items()}
        row[f"ratio, {clock}"] = round(best["torchvision"][k] / best["here"][k], 2)
    return row


def on_processor() -> float:
    """Seconds that this process and those of its children that have ended had on a processor."""
    return sum(os.times()[:4])


if __name__ == "__main__":
    main()
