"""Members that share nothing."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from ensembles.members.ensemble import Ensemble


class Separate(Ensemble):
    """M networks side by side: member m's weights are its own."""

    def __init__(self, networks: Sequence[nn.Module], input_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.M = len(networks)
        self.input_shape = tuple(input_shape)
        self.networks = nn.ModuleList(networks)

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([network(x) for network in self.networks])

    def each(self, x: Tensor) -> Tensor:
        return torch.stack([network(own) for network, own in zip(self.networks, x, strict=True)])

    def member(self, m: int) -> nn.Module:
        return self.networks[m]

    def own_parameters(self) -> Iterable[nn.Parameter]:
        return self.parameters()
