"""Ensembles whose members are one ordinary network with M sets of plain weights, folded from what is stored."""

import copy
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from types import MethodType

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

from ensembles.backbones.ghost import members_in_batch
from ensembles.backbones.trace import trace
from ensembles.errors import UserError
from ensembles.limits import require
from ensembles.methods.base import Ensemble
from ensembles.methods.forms import Grouped, Source, grouped_form, repeat, side_by_side, sources_of, tensors_of
from ensembles.methods.layers import Layer

ALL = slice(None)


class Folded(Ensemble):
    """M networks of one architecture; a subclass says how member m's weights come from the stored numbers.

    Where members are not grouped (`ensembles.methods.forms`), they run one after another, each an ordinary pass. Only
    where they share a batch norm that takes its statistics from the batch do they go layer by layer together, so that
    it sees all members' activations; unless layers of the network read something else than the batch, which cannot be
    told apart by members.

    Args:
        network: what runs; a subclass takes out of it what it stores otherwise.
        own_norms: kinds of normalisation layers of which each member has its own, batch norms always among them.

    Attributes:
        layers: those whose weights differ between members; a subclass sets it.
    """

    has_forms = True
    layers: list[Layer]

    def __init__(
        self, network: nn.Module, M: int, input_shape: tuple[int, ...], own_norms: tuple[type, ...] = ()
    ) -> None:
        super().__init__()
        require(M=M)
        self.M, self.input_shape = M, tuple(input_shape)
        plan = trace(network, input_shape)
        self.first = plan.first
        self._all_read_the_batch = all(step.batched for step in plan.steps)
        self.norms = MemberNorms(network, M, own_norms) if own_norms else None
        self.network = network
        has_attention = any(isinstance(module, nn.MultiheadAttention) for module in network.modules())
        if M > 1 and has_attention and self._shared_batch_norms():
            raise UserError(
                f"{type(network).__name__} has batch norms that members would share and attention that cannot run "
                "layer by layer: give members their own batch norms, or choose another model."
            )

    @abstractmethod
    def folded(self, members: slice = ALL) -> dict[str, Tensor]:
        """Compute members' weights of `layers` by their names in the network, after each other in the first dimension.

        So a weight of one member has the shape that the network's own has, (outputs, inputs / groups, ...), and all
        members' together (M outputs, inputs / groups, ...).
        """

    def layer_forwards(self) -> dict[nn.Module, Callable[[Tensor], Tensor]]:
        """Give each of `layers` a forward for members' batches after each other, in which members' weights differ."""
        return self.forwards_by_member(self.folded())

    def forwards_by_member(self, folded: Mapping[str, Tensor]) -> dict[nn.Module, Callable[[Tensor], Tensor]]:
        """Make forwards that compute each member's part of a batch with its part of these weights, as of `folded`."""
        tensors: dict[str, list[dict[str, Tensor]]] = defaultdict(lambda: [{} for _ in range(self.M)])
        for name, of_all in folded.items():
            owner, _, key = name.rpartition(".")
            for own, tensor in zip(tensors[owner], of_all.chunk(self.M), strict=True):
                own[key] = tensor
        layers = {self.network.get_submodule(name): own for name, own in tensors.items()}
        return {layer: member_by_member(layer, own) for layer, own in layers.items()}

    def weights(self, m: int) -> dict[str, Tensor]:
        """Give member m's plain parameters and buffers by their names in the network, which has all others."""
        return self.folded(slice(m, m + 1)) | (self.norms.weights(m) if self.norms else {})

    def forward(self, x: Tensor) -> Tensor:
        if grouped := self._grouped(x):
            return grouped(self.folded(), x, self.network)
        if self._runs_layer_by_layer():
            return self._layer_by_layer(torch.cat([x] * self.M), common=x)
        first = self.network.get_submodule(self.first)
        with forwards({first: once(first, x)} if self._shares_first else {}):
            return torch.stack([self._run(m, x) for m in range(self.M)])

    def each(self, x: Tensor) -> Tensor:
        if grouped := self._grouped(x):
            return grouped(self.folded(), side_by_side(x), self.network)
        if self._runs_layer_by_layer():
            return self._layer_by_layer(x.flatten(0, 1))
        return torch.stack([self._run(m, x[m]) for m in range(self.M)])

    def _grouped(self, x: Tensor) -> Grouped | None:
        return grouped_form(self, self.network, x.device, self._plan)

    def _plan(self) -> tuple[dict[str, Source], list[str]]:
        """Give the sources of all that is not folded, and the shared batch norms, which run once for all members.

        So does a first layer that all members share.
        """
        shared = list(self._shared_batch_norms())
        single = {*shared, *([self.first] if self._shares_first else [])}
        found: dict[str, Source] = {}
        for name in tensors_of(self.network):
            owner, _, key = name.rpartition(".")
            module = self.network.get_submodule(owner)
            found[name] = partial(getattr, module, key) if owner in single else partial(_repeated, module, key, self.M)
        for i, name in enumerate(self.norms.names if self.norms else ()):
            found |= sources_of((norms[i] for norms in self.norms.members), f"{name}.")
        folded = self.folded(slice(1))
        return {name: source for name, source in found.items() if name not in folded}, shared

    def _run(self, m: int, x: Tensor) -> Tensor:
        # A module can stand in several places of a network; by one of its names it is given its weights once.
        return functional_call(self.network, self.weights(m), (x,), tie_weights=False)

    def member(self, m: int) -> nn.Module:
        """Copy member m as an ordinary network with plain weights."""
        network = copy.deepcopy(self.network)
        for name, tensor in self.weights(m).items():
            owner, _, key = name.rpartition(".")
            module, plain = network.get_submodule(owner), tensor.detach().clone()
            setattr(module, key, nn.Parameter(plain) if key in module._parameters else plain)
        return network

    def _layer_by_layer(self, batch: Tensor, common: Tensor | None = None) -> Tensor:
        """Compute logits (M, B, K) of members' inputs after each other, (M B, ...); ``common`` if each has the same."""
        replaced = self.layer_forwards()
        if common is not None and self._shares_first:
            first = self.network.get_submodule(self.first)
            replaced[first] = once_for_all(first, common, batch, self.M)
        with forwards(replaced), members_in_batch(self.network, self.M):
            return self.network(batch).unflatten(0, (self.M, -1))

    @property
    def _shares_first(self) -> bool:
        """Tell whether the first layer is the same in all members, so that a common input needs it once."""
        return all(layer.name != self.first for layer in self.layers)

    def _shared_batch_norms(self) -> dict[str, nn.Module]:
        modules = [] if self.norms else self.network.named_modules()
        return {name: module for name, module in modules if isinstance(module, _BatchNorm)}

    def _runs_layer_by_layer(self) -> bool:
        norms = self._shared_batch_norms() if self.M > 1 and self._all_read_the_batch else {}
        return any(norm.training or norm.running_mean is None for norm in norms.values())


def _repeated(module: nn.Module, key: str, M: int) -> Tensor:
    return repeat(getattr(module, key), M)


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
            pop_tensors(network, *(f"{name}.{key}" for key in tensors_of(norm)))

    def weights(self, m: int) -> dict[str, Tensor]:
        """Give member m's parameters and statistics by their names in the network."""
        pairs = zip(self.names, self.members[m], strict=True)
        return {f"{name}.{key}": tensor for name, norm in pairs for key, tensor in tensors_of(norm).items()}


def pop_tensors(network: nn.Module, *names: str) -> list[Tensor]:
    """Take tensors out of a network by their dotted names; their places stay, empty."""
    taken = []
    for name in names:
        owner, _, key = name.rpartition(".")
        module = network.get_submodule(owner)
        taken.append(getattr(module, key))
        setattr(module, key, None)
    return taken


@contextmanager
def forwards(replacements: Mapping[nn.Module, Callable[[Tensor], Tensor]]) -> Iterator[None]:
    """Let modules run these functions in the place of their own forward."""
    before = {module: vars(module).get("forward") for module in replacements}
    for module, forward in replacements.items():
        module.forward = forward
    try:
        yield
    finally:
        for module, forward in before.items():
            if forward is None and not torch.compiler.is_compiling():
                del module.forward
            else:  # the compiler cannot take back an attribute that it has set
                module.forward = forward or own_forward(module)


def once(layer: nn.Module, common: Tensor) -> Callable[[Tensor], Tensor]:
    """Make the layer's forward compute once for however many members hand it the very tensor ``common``.

    What follows may work in place, so each gets a copy.
    """
    compute = layer.forward
    kept: list[Tensor] = []

    def forward(x: Tensor) -> Tensor:
        if x is not common:
            return compute(x)
        if not kept:
            kept.append(compute(x))
        return kept[0].clone()

    return forward


def once_for_all(layer: nn.Module, common: Tensor, batch: Tensor, M: int) -> Callable[[Tensor], Tensor]:
    """Make the layer's forward compute on ``common`` where it is handed ``batch``, which is ``common`` M times."""
    compute = layer.forward

    def forward(x: Tensor) -> Tensor:
        return torch.cat([compute(common)] * M) if x is batch else compute(x)

    return forward


def member_by_member(layer: nn.Module, tensors: list[dict[str, Tensor]]) -> Callable[[Tensor], Tensor]:
    """Make a forward for M members' batches after each other: each part with its member's tensors in the layer."""

    def forward(x: Tensor) -> Tensor:
        replaced, layer.forward = layer.forward, own_forward(layer)
        try:
            parts = zip(tensors, x.chunk(len(tensors)), strict=True)
            return torch.cat([functional_call(layer, own, (part,)) for own, part in parts])
        finally:
            layer.forward = replaced

    return forward


def own_forward(module: nn.Module) -> Callable[[Tensor], Tensor]:
    """Give the forward of the module's class."""
    return MethodType(type(module).forward, module)
