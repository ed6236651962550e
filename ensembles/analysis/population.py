"""Many small networks of one configuration, each on a training set of its own, trained at once.

Network s is what ``train.py seed=s data.set_seed=s`` trains: its initialisation, training points, order and deals are
those; only the arithmetic runs over all networks together.
"""

from collections.abc import Iterator, Sequence

import torch
from omegaconf import OmegaConf
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from ensembles import build
from ensembles.data.datamodule import DataModule
from ensembles.methods import Method
from ensembles.rng import seed_of

TOGETHER = 25  # networks in one pass over the test points, for the sake of memory


class Population:
    """Networks of one regression's configuration.

    Args:
        config: composed and checked, as of a run; of a method that trains all weights alike, such as MIMO, and an
            optimiser that works on each weight apart, such as Adam.
        seeds: of the networks, each with its training set.
    """

    def __init__(self, config: dict, seeds: Sequence[int]) -> None:
        pairs = [_network(config, seed) for seed in seeds]
        self.methods = [method for method, _ in pairs]
        self.data = [data for _, data in pairs]
        self.recipe = build.call(config["recipe"])
        weights, self._buffers = stack_module_state([method.ensemble for method in self.methods])
        self._weights = {name: weight.detach().requires_grad_() for name, weight in weights.items()}

    def train(self) -> Iterator[int]:
        """Train; yields after each epoch how many are done."""
        loaders = [data.train_dataloader() for data in self.data]
        steps = self.recipe.epochs * len(loaders[0])
        given = self.recipe.optimizers([{"params": list(self._weights.values())}], steps)
        optimizer, schedule = given["optimizer"], given["lr_scheduler"]["scheduler"]
        losses = vmap(self._loss)
        for epoch in range(self.recipe.epochs):
            for step in range(len(loaders[0])):
                batches = [
                    data.on_after_batch_transfer(loader.batch(epoch, step), 0)
                    for data, loader in zip(self.data, loaders, strict=True)
                ]
                x, y = (torch.stack(part) for part in zip(*batches, strict=True))
                optimizer.zero_grad()
                losses(self._weights, self._buffers, x, y).sum().backward()
                self.recipe.penalise(optimizer)
                optimizer.step()
                schedule.step()
            yield epoch + 1

    @torch.no_grad()
    def predict(self, x: Tensor) -> Tensor:
        """The members' means on common points (N, D), of all networks: (S, M, N)."""
        inputs = x.view(-1, *self.methods[0].ensemble.input_shape)
        outputs = vmap(self._outputs, in_dims=(0, 0, None), chunk_size=TOGETHER)
        return self.methods[0].likelihood.moments(outputs(self._weights, self._buffers, inputs))[0]

    def _loss(self, weights: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return self.methods[0].loss(self._outputs(weights, buffers, x), y)

    def _outputs(self, weights: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor) -> Tensor:
        """Outputs (M, B, K) of one network with these weights."""
        prefixed = {f"ensemble.{name}": tensor for name, tensor in {**weights, **buffers}.items()}
        return functional_call(_Pass(self.methods[0].ensemble), prefixed, (x,))


class _Pass(nn.Module):
    """An ensemble's pass, for all members alike or for each its own."""

    def __init__(self, ensemble: nn.Module) -> None:
        super().__init__()
        self.ensemble = ensemble

    def forward(self, x: Tensor) -> Tensor:
        return self.ensemble(x) if x.dim() == len(self.ensemble.input_shape) + 1 else self.ensemble.each(x)


def _network(config: dict, seed: int) -> tuple[Method, DataModule]:
    """The untrained method and the data of a run with this seed."""
    config = OmegaConf.merge(config, {"seed": seed, "data": {"set_seed": seed}})
    torch.manual_seed(seed_of(seed, "initialisation"))
    data = build.call(config.data, batch_size=config.recipe.batch_size, seed=seed)
    method = build.method(build.description(config, data))
    method.recipe = build.call(config.recipe)
    data.deal = method.deal
    data.setup()
    return method, data
