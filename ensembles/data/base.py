"""What all data sets do alike: named sets of examples, dealt to members in training and read in order otherwise."""

from collections.abc import Iterable, Sequence

from pytorch_lightning import LightningDataModule
from torch import Tensor

from ensembles.data.augment import CropFlip
from ensembles.data.examples import Examples
from ensembles.data.loaders import EvalLoader, Picks, TrainLoader
from ensembles.data.mixing import Mix
from ensembles.limits import require
from ensembles.methods.deal import Deal


class DataModule(LightningDataModule):
    """Named sets of examples; a subclass fills ``sets`` in ``setup``, and batches on their device.

    After Lightning's transfer a batch is (x, y), x (B, C, H, W) and y (B,), or as ``deal`` has it (M, B, ...).

    Args:
        batch_size: unique examples of a training step, over all processes.
        seed: of data order and dealing.
        eval_batch_size: examples of an evaluation batch in one process.

    Attributes:
        deal: which examples each member sees in a training step.
        sets: the named sets of examples after ``setup``.
        class_names: of a classification's K classes.
        num_classes: K, or of a regression the outputs that a network must have.
        in_channels, image_size: of an input; a point is an image of one pixel with a channel for each feature.
        mean, std: of each channel, by which inputs are normalised.
        subsets: for a shifted set that does not cover all classes, those it covers; several that count as one in it
            stand in a list of their own.
        accepted: for a shifted set in which several classes can be right for an image, which are, (N, K).
        groups: for a shifted set of frames, the positions of each frame in question and of those like it.
        inputs: for a set of points, their features, (N, D).

    Raises:
        UserError: a setting out of its limits.
    """

    class_names: Sequence[str]
    num_classes: int
    in_channels: int
    image_size: int
    mean: list[float]
    std: list[float]
    augment: CropFlip | None = None
    mix: Mix | None = None

    def __init__(self, batch_size: int, seed: int, eval_batch_size: int) -> None:
        super().__init__()
        require("recipe.", batch_size=batch_size)
        require(seed=seed)
        require("data.", eval_batch_size=eval_batch_size)
        self.batch_size, self.seed, self.eval_batch_size = batch_size, seed, eval_batch_size
        self.deal = Deal()
        self.sets: dict[str, Examples] = {}
        self.subsets: dict[str, list[int | list[int]]] = {}
        self.accepted: dict[str, Tensor] = {}
        self.groups: dict[str, list[list[int]]] = {}
        self.inputs: dict[str, Tensor] = {}

    @property
    def test_sets(self) -> dict[str, int]:
        """Name and size of each set that ``test_dataloader`` lists, in its order."""
        return {name: len(examples) for name, examples in self.sets.items() if name not in ("train", "val")}

    @property
    def epoch(self) -> int:
        return self.trainer.current_epoch if self.trainer else 0

    @property
    def steps_done(self) -> int:
        """Training steps of the epoch that lie behind."""
        return self.trainer.fit_loop.batch_idx + 1 if self.trainer else 0

    @property
    def rank_and_processes(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    @property
    def workers(self) -> int:
        """Processes that prepare inputs for this one."""
        return 0

    def train_dataloader(self) -> Iterable[Picks]:
        return self.sets["train"].images.feed(TrainLoader(self), self.workers)

    def val_dataloader(self) -> Iterable[Picks]:
        """The validation part in its order; an empty list where there is none, since Lightning refuses None."""
        return self._evaluated("val") if "val" in self.sets else []

    def test_dataloader(self) -> list[Iterable[Picks]]:
        return [self._evaluated(name) for name in self.test_sets]

    def _evaluated(self, name: str) -> Iterable[Picks]:
        return self.sets[name].images.feed(EvalLoader(self, name), self.workers)
