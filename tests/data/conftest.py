from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint

from ensembles.data import ImageDataModule, LabelledSet
from ensembles.deal import Deal
from ensembles.methods import mimo


class OneEach(ImageDataModule):
    """Random images, each of a class of its own, so that a label says which image it goes with."""

    in_channels, native_size = 3, 6
    names = tuple(f"image {index}" for index in range(50))

    def load(self) -> dict[str, LabelledSet]:
        pixels = torch.randint(0, 256, (50, 3, 6, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
        labels = torch.arange(50)
        return {"train": LabelledSet(pixels, labels), "test": LabelledSet(pixels[:13], labels[:13])}


@pytest.fixture
def one_each():
    """Make a data module of 50 training and 13 test images, set up."""

    def make(**settings) -> OneEach:
        data = OneEach(**{"batch_size": 8, "seed": 3, "val_fraction": 0, **settings})
        data.setup()
        return data

    return make


class Three(ImageDataModule):
    """30 training and 15 test images of three classes, large enough to be corrupted."""

    in_channels, native_size = 3, 12
    names = ("ant", "bee", "cow")

    def load(self) -> dict[str, LabelledSet]:
        pixels = torch.randint(0, 256, (45, 3, 12, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))
        labels = torch.arange(45) % 3
        return {"train": LabelledSet(pixels[:30], labels[:30]), "test": LabelledSet(pixels[30:], labels[30:])}


@pytest.fixture
def three(tmp_path):
    """Make a data module of three classes, prepared and set up."""

    def make(**settings) -> Three:
        data = Three(**{"batch_size": 10, "val_fraction": 0, "num_workers": 0, "root": str(tmp_path), **settings})
        data.prepare_data()
        data.setup()
        return data

    return make


@pytest.fixture
def evaluated():
    """All images, uint8, and labels of a test set, through its loader."""

    def through(data: ImageDataModule, name: str) -> tuple[torch.Tensor, torch.Tensor]:
        loader = data.test_dataloader()[list(data.test_sets).index(name)]
        batches = [(data.pixels(batch), batch.labels) for batch in loader]
        return tuple(torch.cat(parts) for parts in zip(*batches, strict=True))

    return through


DEALS = {"plain": Deal(), "shuffles": Deal(shuffles=3), "mimo": mimo.deal(M=3, rho=0.5, batch_repetition=2)}


@pytest.fixture(params=DEALS)
def deal(request):
    """Each kind of deal in turn."""
    return DEALS[request.param]


class Recorder(LightningModule):
    """Keeps what it is trained and tested on."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen, self.tested = {}, {}

    def training_step(self, batch, batch_idx):
        self.seen[self.current_epoch, batch_idx] = batch
        return self.weight

    def validation_step(self, batch, batch_idx):
        pass

    def test_step(self, batch, batch_idx, dataloader_idx=0):
        self.tested.setdefault(dataloader_idx, []).append(batch)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.fixture
def recorded(tmp_path):
    """Train and test on a data module by Lightning, from a checkpoint of an earlier run or not; gives a `Recorder`."""

    def run(data: ImageDataModule, name: str, epochs: int, resume: bool = False) -> Recorder:
        model, folder = Recorder(), tmp_path / name
        trainer = Trainer(
            max_epochs=epochs,
            accelerator="cpu",
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            callbacks=[ModelCheckpoint(folder, filename="last", save_on_train_epoch_end=True)],
        )
        trainer.fit(model, data, ckpt_path=folder / "last.ckpt" if resume else None)
        trainer.test(model, data, verbose=False)
        return model

    return run


@pytest.fixture
def process():
    """Makes a data module believe that it works in one process of several, in some epoch."""

    def become(data: ImageDataModule, rank: int, of: int, epoch: int = 0) -> None:
        begun = SimpleNamespace(batch_idx=-1)
        data.trainer = SimpleNamespace(global_rank=rank, world_size=of, current_epoch=epoch, fit_loop=begun)

    return become


@pytest.fixture
def image_folder(tmp_path):
    """Write random PNG files: ``image_folder({"train/cat": 3}, size=(8, 8))`` makes train/cat/0.png and so on."""

    def make(counts: dict[str, int], size: tuple[int, int] = (8, 8), root: Path = tmp_path / "images") -> Path:
        random = np.random.default_rng(0)
        for place, count in counts.items():
            (root / place).mkdir(parents=True)
            for number in range(count):
                pixels = random.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / place / f"{number}.png")
        return root

    return make
