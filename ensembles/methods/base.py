"""What all methods share: M networks of one architecture, and a LightningModule that trains them."""

import copy
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, TypeAlias

import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ensembles.backbones.dimensions import ends
from ensembles.backbones.resize import is_pretrained, parameter_count, redraw, require_room
from ensembles.backbones.trace import LAYERS
from ensembles.deal import Deal
from ensembles.errors import UserError
from ensembles.likelihoods import Categorical, Likelihood
from ensembles.limits import require
from ensembles.methods.forms import Grouped, grouped_form, side_by_side, sources_of
from ensembles.methods.layers import channels_last

if TYPE_CHECKING:
    from ensembles.training.recipe import Recipe


class Ensemble(nn.Module, ABC):
    """M networks of one architecture, however their weights are stored.

    Attributes:
        M: number of members.
        input_shape: shape of one input, (C, H, W) for images.
        has_forms: whether members are M networks, which can run in several forms.
        form: in which members run, ``auto``, ``loop`` or ``grouped``, see `ensembles.methods.forms`.
    """

    M: int
    input_shape: tuple[int, ...]
    has_forms: bool = False
    form: str = "auto"

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Compute logits (M, B, K) of all members on a common batch (B, *input_shape)."""

    @abstractmethod
    def each(self, x: Tensor) -> Tensor:
        """Compute logits (M, B, K) where member m sees its own batch ``x[m]``, of (M, B, *input_shape)."""

    @abstractmethod
    def member(self, m: int) -> nn.Module:
        """Give member m as an ordinary network, (B, *input_shape) -> (B, K)."""

    def own_parameters(self) -> Iterable[nn.Parameter]:
        """List stored parameters of which each member has an equal part of its own; all members share the others."""
        return ()

    def predict(self, x: Tensor) -> Tensor:
        """Compute predictive probabilities (B, K), the mean of the members' softmax."""
        return torch.softmax(self(x), dim=-1).mean(dim=0)

    def head(self) -> list[nn.Module]:
        """List what gives the logits, in all members: the modules that are trained where the trunk is frozen."""
        _, last = ends(self.member(0), self.input_shape)
        named = re.compile(rf"(network|networks\.\d+)\.({'|'.join(map(re.escape, last))})")
        return [module for name, module in self.named_modules() if named.fullmatch(name)]


class Separate(Ensemble):
    """M networks side by side: member m's weights are its own."""

    has_forms = True

    def __init__(self, networks: Sequence[nn.Module], input_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.M, self.input_shape = len(networks), tuple(input_shape)
        self.networks = nn.ModuleList(networks)

    def forward(self, x: Tensor) -> Tensor:
        if grouped := self._grouped(x):
            return grouped({}, x, self.networks[0])
        return torch.stack([network(x) for network in self.networks])

    def each(self, x: Tensor) -> Tensor:
        if grouped := self._grouped(x):
            return grouped({}, side_by_side(x), self.networks[0])
        return torch.stack([network(own) for network, own in zip(self.networks, x, strict=True)])

    def _grouped(self, x: Tensor) -> Grouped | None:
        return grouped_form(self, self.networks[0], x.device, lambda: (sources_of(self.networks), ()))

    def member(self, m: int) -> nn.Module:
        return self.networks[m]

    def own_parameters(self) -> Iterable[nn.Parameter]:
        return self.parameters()


Backbone: TypeAlias = nn.Module | Callable[[], nn.Module]


def fresh(backbone: Backbone, M: int) -> list[nn.Module]:
    """Make M networks that start apart: built anew by a function, or copies of a network, drawn again.

    Raises:
        UserError: more than fit this machine's memory.
    """
    if not isinstance(backbone, nn.Module):
        first = backbone()
        require_room(parameter_count(first), M)
        return [first, *(backbone() for _ in range(M - 1))]
    require_room(parameter_count(backbone), M)
    networks = [copy.deepcopy(backbone) for _ in range(M)]
    for network in networks[1:]:
        for layer in network.modules():
            if isinstance(layer, LAYERS) and not is_pretrained(layer):
                redraw(layer, tuple(layer.weight.shape))
    return networks


class Method(LightningModule):
    """An ensemble, how examples are dealt to its members, and its loss; a new method is a subclass that fills these in.

    Attributes:
        ensemble: answers where member m's weights come from.
        deal: answers which examples member m sees in a training step.
        likelihood: what a member's outputs say of its target.
        recipe: optimiser and schedule; set before training.
        memory_format: layout of images; channels-last is the faster one for convolutions.
        keeps_pretrained: whether members start from the backbone's numbers, so that pretrained ones are of use.
        frozen_norms: batch norms of a frozen trunk.
    """

    likelihood: Likelihood = Categorical()
    recipe: "Recipe | None" = None
    memory_format = torch.channels_last
    keeps_pretrained = True
    frozen_norms: Sequence[nn.Module] = ()

    def __init__(self, ensemble: Ensemble, deal: Deal | None = None, reduction: str = "sum") -> None:
        super().__init__()
        require("method.", reduction=reduction)
        self.ensemble = channels_last(ensemble)
        self.deal = deal or Deal()
        self.reduction = reduction

    def setup(self, stage: str) -> None:
        if stage == "fit" and self.recipe and self.recipe.freeze_trunk:
            self.freeze_trunk()

    def freeze_trunk(self) -> None:
        """Train nothing but the `Ensemble.head` from now on; the trunk's batch norms keep the statistics they have.

        Raises:
            UserError: a method that starts from no pretrained numbers, or an ensemble in which no last layer is found.
        """
        if not self.keeps_pretrained:
            raise UserError(
                f"{type(self).__name__} draws its weights anew, so a frozen trunk would stay at random numbers: set "
                "recipe.freeze_trunk=false."
            )
        head = self.ensemble.head()
        if not head:
            raise UserError(
                f"{type(self.ensemble).__name__} has no last layer to train: set recipe.freeze_trunk=false."
            )
        self.requires_grad_(False)
        for module in head:
            module.requires_grad_(True)
        trained = {inner for module in head for inner in module.modules()}
        norms = (module for module in self.ensemble.modules() if isinstance(module, _BatchNorm))
        self.frozen_norms = [norm for norm in norms if norm not in trained]
        self.train(self.training)

    def train(self, mode: bool = True) -> "Method":
        """Set the mode of all modules but frozen batch norms, which stay in evaluation."""
        super().train(mode)
        for norm in self.frozen_norms:
            norm.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Compute logits (M, B, K) of a common batch (B, *input_shape), or each member's own (M, B, *input_shape)."""
        common = x.dim() == len(self.ensemble.input_shape) + 1
        if x.dim() == 4:
            x = x.contiguous(memory_format=self.memory_format)
        return self.ensemble(x) if common else self.ensemble.each(x)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Compute each member's mean loss, by default cross-entropy, summed over the members or averaged.

        Args:
            logits: (M, B, K), of a regression the outputs.
            labels: (B,) for all members alike, or (M, B); or each class's share, (B, K) or (M, B, K).
        """
        criterion = self.recipe.criterion if self.recipe else nn.functional.cross_entropy
        mean = self.likelihood.loss(logits, labels, criterion)
        return logits.shape[0] * mean if self.reduction == "sum" else mean

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        x, y = batch
        return self.loss(self(x), y)

    def configure_optimizers(self):
        return self.recipe.optimizers(self.parameter_groups(), self.trainer.estimated_stepping_batches)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        gathered = self.trainer.accumulate_grad_batches
        if rest := self.trainer.fit_loop.epoch_loop.batch_progress.current.ready % gathered:
            # the epoch's last group has fewer batches than Lightning has divided the losses by
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    if parameter.grad is not None:
                        parameter.grad.mul_(gathered / rest)
        self.recipe.penalise(optimizer)

    def parameter_groups(self) -> list[dict]:
        """List parameters with what differs from the recipe for them, as torch.optim takes them."""
        return [{"params": list(self.parameters())}]

    def on_validation_epoch_start(self) -> None:
        self._validation = self.likelihood.validation_metrics().to(self.device)

    def validation_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Compute the members' logits (M, B, K), float32."""
        x, y = batch
        logits = self._logits(x)
        self._validation.update(logits, y)
        return logits

    def on_validation_epoch_end(self) -> None:
        values = {f"val/{key}": value for key, value in self._validation.compute().items()}
        self.log_dict(values, rank_zero_only=False, sync_dist=False)

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Compute the members' logits (M, B, K), float32."""
        return self._logits(batch[0])

    def _logits(self, x: Tensor) -> Tensor:
        """Compute logits in single precision, whatever ``trainer.precision`` training has: measures are of weights."""
        with torch.autocast(self.device.type, enabled=False):
            return self(x).float()


def param_groups(module: nn.Module, *groups: dict, others: dict | None = None) -> list[dict]:
    """List a module's parameter groups: all others, with what differs for them if anything, then these groups."""
    groups = tuple({**group, "params": list(group["params"])} for group in groups)
    listed = {id(parameter) for group in groups for parameter in group["params"]}
    rest = [parameter for parameter in module.parameters() if id(parameter) not in listed]
    return [{**(others or {}), "params": rest}, *(group for group in groups if group["params"])]
