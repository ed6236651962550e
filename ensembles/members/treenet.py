"""TreeNet (Lee et al., 2015): a trunk that all members share, and a branch for each."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from ensembles.errors import UserError, reason
from ensembles.limits import require
from ensembles.members.ensemble import Ensemble
from ensembles.members.fresh import Backbone, fresh
from ensembles.members.trunk import before, computed_once, default_split


class TreeNet(Ensemble):
    """M networks that hold the same modules up to ``split``, which run once for all members.

    Attributes:
        networks: the members, ordinary networks; the trunk's modules are the same objects in all of them.
        split: name of the module with which the branches begin.
    """

    def __init__(self, networks: Sequence[nn.Module], split: str | None, input_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.M = len(networks)
        self.input_shape = tuple(input_shape)
        self.split = default_split(networks[0], input_shape) if split is None else str(split)
        self.trunk = before(networks[0], self.split, input_shape)
        for network in networks[1:]:
            self.trunk.share(networks[0], network)
        self.networks = nn.ModuleList(networks)
        self._require_equal_members()

    def forward(self, x: Tensor) -> Tensor:
        first = self.networks[0]
        logits = []
        with computed_once({first.get_submodule(name): times for name, times in self.trunk.calls.items()}) as rewind:
            for network in self.networks:
                rewind()
                logits.append(network(x))
        return torch.stack(logits)

    def each(self, x: Tensor) -> Tensor:
        return torch.stack([network(own) for network, own in zip(self.networks, x, strict=True)])

    def member(self, m: int) -> nn.Module:
        return self.networks[m]

    def own_parameters(self) -> Iterable[nn.Parameter]:
        if self.M == 1:
            return ()
        members = [{id(p) for p in network.parameters()} for network in self.networks]
        shared = set.intersection(*members)
        return (p for p in self.parameters() if id(p) not in shared)

    def _require_equal_members(self) -> None:
        """See on one input that running the trunk once changes no member's logits."""
        device = next(self.parameters()).device
        if self.M == 1 or device.type == "meta":
            return
        x = torch.randn(1, *self.input_shape, generator=torch.Generator().manual_seed(0), device="cpu").to(device)
        self.eval()
        try:
            with torch.no_grad():
                equal = torch.allclose(self(x), torch.stack([network(x) for network in self.networks]))
            why = "its members come out different"
        except (RuntimeError, ValueError, TypeError, AttributeError) as error:
            equal, why = False, reason(error)
        self.train()
        if not equal:
            raise UserError(
                f"This {type(self.networks[0]).__name__} cannot be cut at method.split={self.split} ({why}): "
                "name another of its modules."
            )


def treenet(
    backbone: Backbone, M: int = 4, split: str | None = None, input_shape: tuple[int, ...] = (3, 32, 32)
) -> TreeNet:
    """A trunk that M members share and M branches of their own initialisation; (B, *input_shape) -> (M, B, K).

    Args:
        backbone: a network (member 0; the other branches' layers are drawn anew), or a function that builds one.
        split: name of the module with which the branches begin. None is what MIMO (section 3.2) compares with, the
            third residual group: stem and first two groups are shared; in other networks the block at two thirds of
            the depth.
        input_shape: shape of one input, (C, H, W) for images.

    Raises:
        UserError: M out of its range, or a network that cannot be cut there.
    """
    require(M=M)
    return TreeNet(fresh(backbone, M), split, input_shape)
