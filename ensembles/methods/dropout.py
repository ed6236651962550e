"""MC dropout (Gal & Ghahramani, 2016)."""

from ensembles.keyed import seed_of
from ensembles.members import dropout
from ensembles.methods.base import Backbone, Method


class Dropout(Method):
    """One network trained with dropout that stays on at test.

    A step's masks follow from the data's seed, the epoch, the step and the images, so several processes draw as one.

    Args:
        rate: share of the elements that are zeroed before a layer.
        samples: passes at test; the papers take one.
        site: where it sits, as `ensembles.dropout` takes it.
    """

    def __init__(
        self,
        backbone: Backbone,
        input_shape: tuple[int, ...],
        rate: float = 0.1,
        samples: int = 1,
        site: str = "convolutions",
    ) -> None:
        super().__init__(dropout(backbone, rate, samples, input_shape, site))

    def on_train_batch_start(self, batch, batch_idx: int) -> None:
        seed = getattr(self.trainer.datamodule, "seed", 0)
        self.ensemble.salt = seed_of(seed, "dropout", self.current_epoch, batch_idx)
