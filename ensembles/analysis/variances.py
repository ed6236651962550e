"""On which of MIMO's inputs each hidden unit depends (MIMO, section 3.3)."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ensembles.errors import UserError
from ensembles.methods.base import Ensemble
from ensembles.methods.mimo import MIMONetwork
from ensembles.rng import generator


@torch.inference_mode()
def conditional_variances(ensemble: Ensemble, images: Tensor, fixed: int = 16) -> Tensor:
    """The variance of each unit's pre-activation over one input, the others being fixed, on average over those.

    A unit is a channel that goes into a ReLU; its variance is the mean over the channel's places.

    Args:
        images: (N, C, H, W), normalised; the input runs over all of them.
        fixed: values of the other inputs, drawn from the images.

    Returns:
        (M, units) on the CPU, the units in the order in which they run.

    Raises:
        UserError: no MIMO network, or one without ReLU modules.
    """
    if not isinstance(ensemble, MIMONetwork):
        raise UserError(f"Only method=mimo has an input for each subnetwork, and this is a {type(ensemble).__name__}.")
    draws = generator("conditional variances")
    return torch.stack([_of_input(ensemble, images, m, fixed, draws) for m in range(ensemble.M)])


def _of_input(ensemble: MIMONetwork, images: Tensor, m: int, fixed: int, draws: torch.Generator) -> Tensor:
    """Of input m: (units,)."""
    total: Tensor | float = 0.0
    for _ in range(fixed):
        chosen = images[torch.randint(len(images), (ensemble.M,), generator=draws)]
        inputs = chosen[:, None].expand(-1, *images.shape).clone()
        inputs[m] = images
        with _pre_activations(ensemble.network) as found:
            ensemble.each(inputs)
        if not found:
            raise UserError(f"{type(ensemble.network).__name__} has no ReLU modules, so it shows no pre-activations.")
        total = total + torch.cat(found)
    return (total / fixed).cpu()


@contextmanager
def _pre_activations(network: nn.Module) -> Iterator[list[Tensor]]:
    """The variances over the batch of the channels that go into each ReLU, (C,) for each call."""
    found: list[Tensor] = []

    def take(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        found.append(inputs[0].double().var(0).unsqueeze(-1).flatten(1).mean(1))

    hooks = [module.register_forward_pre_hook(take) for module in network.modules() if isinstance(module, nn.ReLU)]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()
