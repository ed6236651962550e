"""Normalisation layers that each member has of its own."""

import copy

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

BATCH_NORMS = (_BatchNorm,)
NORMS = (_BatchNorm, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)


class MemberNorms(nn.Module):
    """M copies of a network's normalisation layers, whose own numbers the network then no longer stores."""

    def __init__(self, network: nn.Module, M: int, kinds: tuple[type, ...]) -> None:
        super().__init__()
        self.names = [name for name, module in network.named_modules() if isinstance(module, kinds)]
        norms = [network.get_submodule(name) for name in self.names]
        self.members = nn.ModuleList(nn.ModuleList(copy.deepcopy(norm) for norm in norms) for _ in range(M))
        for name, norm in zip(self.names, norms, strict=True):
            take(network, *(f"{name}.{key}" for key in _tensors(norm)))

    def weights(self, m: int) -> dict[str, Tensor]:
        """Member m's parameters and statistics by their names in the network."""
        pairs = zip(self.names, self.members[m], strict=True)
        return {f"{name}.{key}": tensor for name, norm in pairs for key, tensor in _tensors(norm).items()}


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    return dict([*module.named_parameters(), *module.named_buffers()])


def take(network: nn.Module, *names: str) -> list[Tensor]:
    """Take tensors out of a network by their dotted names; their places stay, empty."""
    taken = []
    for name in names:
        owner, _, key = name.rpartition(".")
        module = network.get_submodule(owner)
        taken.append(getattr(module, key))
        setattr(module, key, None)
    return taken
