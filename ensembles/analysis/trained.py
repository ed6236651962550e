"""A finished run's network and test images, for what is computed from them."""

from functools import cached_property
from pathlib import Path

import torch
from omegaconf import OmegaConf
from torch import Tensor

from ensembles import build
from ensembles.checkpoints import load_weights
from ensembles.data.labelled_set import stratified
from ensembles.errors import UserError
from ensembles.methods.base import Ensemble
from ensembles.rng import generator
from ensembles.runs import Run

TEST_ALONE = {"ood_sets": [], "shift_sets": [], "ood": None, "shift": None, "corrupted": None}


def tested(run: Run) -> Path:
    """Find the checkpoint that was tested."""
    return run.best if run.config["test_on"] == "best" and run.best.exists() else run.last


class Trained:
    """A finished run, on a GPU if there is one and the run may use it.

    Attributes:
        run: its config and folder.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        on_gpu = torch.cuda.is_available() and run.config["trainer"]["accelerator"] != "cpu"
        self._device = torch.device("cuda" if on_gpu else "cpu")
        self._config = OmegaConf.create({**run.config, "data": {**run.config["data"], **TEST_ALONE}})
        self._data = build.call(self._config.data, batch_size=self._config.recipe.batch_size, seed=self._config.seed)

    @cached_property
    def ensemble(self) -> Ensemble:
        """As it was tested, in evaluation mode."""
        return self.at(tested(self.run))

    @property
    def epochs(self) -> dict[int, Path]:
        """Checkpoints along the training by the epochs that were done.

        Raises:
            UserError: none were kept.
        """
        kept = {int(path.stem): path for path in sorted(self.run.epochs.glob("*.ckpt"))}
        if not kept:
            raise UserError(f"{self.run.folder} has kept no epochs: train it again with runtime.keep_every=1.")
        return kept

    def at(self, checkpoint: Path) -> Ensemble:
        """Load the ensemble of one of the run's checkpoints, in evaluation mode."""
        about = build.description(self._config, self._data)
        if "pretrained" in about["model"]:
            about["model"]["pretrained"] = False  # all weights are in the checkpoint
        method = build.method(about)
        load_weights(method, checkpoint)
        return method.ensemble.eval().to(self._device)

    def test(self, count: int | None) -> tuple[Tensor, Tensor]:
        """Take a fixed stratified subset of the test set in a fixed random order, the whole set where it has fewer.

        Returns:
            normalised images (N, C, H, W) where the ensemble is, and labels (N,) on the CPU.
        """
        images, labels = self._test_set
        kept = stratified(labels, min(count or len(labels), len(labels)), "analysis")
        kept = kept[torch.randperm(len(kept), generator=generator("analysis", "order"))]
        return images[kept].to(self._device), labels[kept]

    @cached_property
    def _test_set(self) -> tuple[Tensor, Tensor]:
        self._data.setup("test")
        batches = [self._data.on_after_batch_transfer(batch, 0) for batch in self._data.test_dataloader()[0]]
        images, labels = zip(*batches, strict=True)
        return torch.cat(images), torch.cat(labels)
