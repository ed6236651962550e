"""The forms in which M members run. A form decides over time alone: stored weights, checkpoints and `member(m)` stay.

``loop``: a pass for each member, or a layer after the other where members share a batch norm. Right for wide layers,
    which keep a processor busy by themselves.
``grouped``: one pass for all members, side by side in the channels (Packed-Ensembles, figure 3c): convolutions get M
    times the groups, norms M times the channels, linear layers become a batched product, and all else stays as it is.
    It launches hardly more operations than a single network, so it is right for thin layers.
``auto``: grouped where `is_thin` says so and the network's code allows it, else the loop, as on a CPU where members
    share batch norms.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MethodType
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

from ensembles.backbones.trace import on_meta, trace
from ensembles.errors import UserError, reason

if TYPE_CHECKING:
    from ensembles.methods.base import Ensemble

# The most outputs of a member's layer with which a grouped pass still takes less time than the loop: on a CPU by
# results/benchmarks/forms.md; on a GPU a guess, since none has been measured.
WIDEST = {"cpu": 64, "cuda": 256}
FEWEST = 3  # members; two save too few passes
ALONE = ("DropPath", "StochasticDepth")  # drop whole examples, so in a grouped pass those of all members at once

Source = Callable[[], Tensor]
Plan = Callable[[], tuple[Mapping[str, Source], Sequence[str]]]


def is_thin(network: nn.Module, M: int, device: torch.device) -> bool:
    """Tell whether ``auto`` means the grouped form for M members of this architecture."""
    widths = [layer.out_channels for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    return M >= FEWEST and bool(widths) and max(widths) <= WIDEST.get(device.type, 0)


_chosen: "WeakKeyDictionary[Ensemble, tuple[tuple[str, str], Grouped | None]]" = WeakKeyDictionary()


@torch.compiler.disable
def grouped_form(
    ensemble: "Ensemble",
    architecture: nn.Module,
    device: torch.device,
    plan: Plan,
) -> "Grouped | None":
    """Give what runs an ensemble's members side by side, or None where they run in a loop; decided once for a device.

    Args:
        architecture: the members' network, of which some numbers can be stored elsewhere.
        plan: gives `Grouped.sources`, and the names of batch norms that all members share.

    Raises:
        UserError: the grouped form is asked for, and the network's code does not allow it.
    """
    key = (ensemble.form, device.type)
    if ensemble not in _chosen or _chosen[ensemble][0] != key:
        _chosen[ensemble] = key, _choose(ensemble, architecture, device, plan)
    return _chosen[ensemble][1]


def _choose(ensemble: "Ensemble", architecture: nn.Module, device: torch.device, plan: Plan) -> "Grouped | None":
    asked = ensemble.form == "grouped"
    wanted = asked or (ensemble.form == "auto" and is_thin(architecture, ensemble.M, device))
    if not wanted or ensemble.M == 1 or device.type == "meta":
        return None
    sources, shared = plan()
    if shared and device.type == "cpu" and not asked:  # there a layer after the other trains in less time at any width
        return None
    try:
        return Grouped(ensemble.member(0), ensemble.M, ensemble.input_shape, sources, shared)
    except UserError as error:
        if not asked:
            return None
        raise UserError(
            f"runtime.form=grouped does not work for this {type(architecture).__name__}, since {error}: set it to auto."
        ) from error


class Grouped:
    """One network that computes M members of an architecture, which share none of their channels.

    Args:
        network: the architecture, of which only shapes are kept.
        sources: give stored parameters and buffers by name, members' after each other in the first dimension, those of
            shared batch norms once.
        shared: names of batch norms that all members share; they see all members' activations together.

    Raises:
        UserError: members cannot stand side by side.
    """

    def __init__(
        self,
        network: nn.Module,
        M: int,
        input_shape: tuple[int, ...],
        sources: Mapping[str, Source],
        shared: Sequence[str],
    ) -> None:
        self.M, self.sources = M, sources
        self.network = on_meta(network)
        first = trace(network, input_shape).first
        for name, module in self.network.named_modules():
            module.M = M
            if name == first and isinstance(module, nn.Conv2d):
                module.forward = MethodType(_first_convolution, module)
            elif isinstance(module, nn.Conv2d):
                module.groups, module.in_channels = M * module.groups, M * module.in_channels
                module.out_channels *= M
            elif isinstance(module, nn.Linear):
                module.forward = MethodType(_linear, module)
            elif name in shared:
                module.forward = MethodType(_shared_norm, module)
            elif isinstance(module, _BatchNorm) and (module.momentum is not None or not module.track_running_stats):
                module.num_features *= M
            elif isinstance(module, nn.GroupNorm):
                module.num_groups, module.num_channels = M * module.num_groups, M * module.num_channels
            elif module._parameters or type(module).__name__ in ALONE:
                raise UserError(f"it has a {type(module).__name__}")
        self._require_right(network, input_shape, shared)

    def __call__(self, folded: dict[str, Tensor], x: Tensor, like: nn.Module) -> Tensor:
        """Compute logits (M, B, K).

        Args:
            folded: numbers that are not from `sources`.
            x: a common batch (B, *input_shape), or the members' own (M, B, *input_shape), see `side_by_side`.
            like: a network that says which modules are in training.
        """
        return self._run({name: source() for name, source in self.sources.items()} | folded, x, like)

    def _run(self, numbers: dict[str, Tensor], x: Tensor, like: nn.Module) -> Tensor:
        for module, other in zip(self.network.modules(), like.modules(), strict=True):
            vars(module)["training"] = other.training
        outputs = functional_call(self.network, numbers, (x,), tie_weights=False)
        return outputs.unflatten(1, (self.M, -1)).transpose(0, 1)

    def _require_right(self, network: nn.Module, input_shape: tuple[int, ...], shared: Sequence[str]) -> None:
        """See on random numbers that members come out as M networks do.

        Raises:
            UserError: they do not.
        """
        with torch.random.fork_rng(devices=[]), torch.inference_mode(False), torch.no_grad():
            torch.default_generator.manual_seed(0)
            tensors = tensors_of(network)
            once = {name: _at_random(name, t) for name, t in tensors.items() if name.rpartition(".")[0] in shared}
            own = [{name: _at_random(name, t) for name, t in tensors.items()} | once for _ in range(self.M)]
            joined = {name: join([numbers[name] for numbers in own]) for name in tensors} | once
            x = torch.randn(2, *input_shape, dtype=torch.double, device="cpu")
            plain = on_meta(network)
            expected = torch.stack([functional_call(plain, numbers, (x,), tie_weights=False) for numbers in own])
            try:
                found = [self._run(joined, batch, plain) for batch in (x, side_by_side(torch.stack([x] * self.M)))]
            except (RuntimeError, ValueError, TypeError, IndexError) as error:
                raise UserError(f"its code takes its channels for one network's ({reason(error)})") from error
            if not all(given.shape == expected.shape and torch.allclose(given, expected) for given in found):
                raise UserError("its code mixes channels that would be several members'")


def side_by_side(x: Tensor) -> Tensor:
    """Put members' own inputs (M, B, C, ...) beside each other in the channels, (B, M C, ...)."""
    return x.transpose(0, 1).flatten(1, 2)


def tensors_of(module: nn.Module) -> dict[str, Tensor]:
    """List all parameters and buffers, under each of their names."""
    return dict([*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)])


def join(tensors: Sequence[Tensor]) -> Tensor:
    """Put tensors after each other in their first dimension, in which order convolutions keep their layout."""
    return torch.cat(tensors) if tensors[0].dim() else torch.stack(tensors)


def repeat(tensor: Tensor, M: int) -> Tensor:
    """Put M times one tensor after each other."""
    return tensor.expand(M, *tensor.shape).flatten(0, 1) if tensor.dim() else tensor.expand(M)


def sources_of(modules: Iterable[nn.Module], prefix: str = "") -> dict[str, Source]:
    """Give the sources of all numbers in members' own modules of one kind."""
    modules = list(modules)
    found: dict[str, Source] = {}
    for name in tensors_of(modules[0]):
        owner, _, key = name.rpartition(".")
        owners = [module.get_submodule(owner) for module in modules]
        found[prefix + name] = Buffers(owners, key) if key in owners[0]._buffers else Parameters(owners, key)
    return found


class Parameters:
    """Members' parameters after each other; gradients go back as views of one tensor, uncopied."""

    def __init__(self, owners: Sequence[nn.Module], key: str) -> None:
        self.owners, self.key = owners, key

    def __call__(self) -> Tensor:
        return join([getattr(owner, self.key) for owner in self.owners])


class Buffers:
    """Members' buffers after each other; from then on they are views of it, so what changes it changes them."""

    def __init__(self, owners: Sequence[nn.Module], key: str) -> None:
        self.owners, self.key = owners, key
        self.whole: Tensor | None = None

    @torch.compiler.disable
    def __call__(self) -> Tensor:
        own = [owner._buffers[self.key] for owner in self.owners]
        start, size = (0, 0) if self.whole is None else (self.whole.data_ptr(), own[0].nbytes)
        if self.whole is None or any(b.data_ptr() != start + m * size for m, b in enumerate(own)):
            with torch.inference_mode(False), torch.no_grad():
                self.whole = join(own)
                parts = self.whole.chunk(len(own)) if own[0].dim() else self.whole.unbind()
                for buffer, part in zip(own, parts, strict=True):
                    buffer.data = part  # the buffer stays the object that others, such as DDP, know
        return self.whole


def _at_random(name: str, tensor: Tensor) -> Tensor:
    """Draw numbers of a tensor's shape that leave activations at about their size."""
    if not tensor.is_floating_point():
        return torch.zeros(tensor.shape, dtype=tensor.dtype, device="cpu")
    normal = torch.randn(tensor.shape, dtype=torch.double, device="cpu")
    if tensor.dim() > 1:
        return normal * (2 / tensor[0].numel()) ** 0.5
    return 0.5 + normal.abs() if name.endswith("running_var") else normal


def _first_convolution(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """Convolve a common input with all members' weights as more outputs, or all inputs with common weights."""
    M, convolve = layer.M, type(layer).forward
    common, shared = x.shape[1] == layer.in_channels, layer.weight.shape[0] == layer.out_channels
    if shared and common:
        return torch.cat([convolve(layer, x)] * M, dim=1)
    if shared:
        return convolve(layer, x.unflatten(1, (M, -1)).flatten(0, 1)).unflatten(0, (-1, M)).flatten(1, 2)
    if common and layer.groups == 1:
        return convolve(layer, x)
    groups, layer.groups = layer.groups, M * layer.groups
    try:
        return convolve(layer, torch.cat([x] * M, dim=1) if common else x)
    finally:
        layer.groups = groups


def _linear(layer: nn.Linear, x: Tensor) -> Tensor:
    """Multiply members' features, side by side in the last dimension, with members' weights."""
    M, weight, bias = layer.M, layer.weight, layer.bias
    common, shared = x.shape[-1] == layer.in_features, weight.shape[0] == layer.out_features
    if shared and common:
        return torch.cat([F.linear(x, weight, bias)] * M, dim=-1)
    if shared:
        return F.linear(x.unflatten(-1, (M, -1)), weight, bias).flatten(-2)
    if common:
        return F.linear(x, weight, bias)
    rows = x.unflatten(-1, (M, -1)).flatten(0, -3).transpose(0, 1)
    weights = weight.unflatten(0, (M, -1)).transpose(1, 2)
    biases = None if bias is None else bias.unflatten(0, (M, 1, -1))
    outputs = torch.bmm(rows, weights) if biases is None else torch.baddbmm(biases, rows, weights)
    return outputs.transpose(0, 1).flatten(1).unflatten(0, x.shape[:-1])


def _shared_norm(norm: _BatchNorm, x: Tensor) -> Tensor:
    """Normalise by statistics over all members, which stand in the last dimension of space; in channels-last a view."""
    normalise = type(norm).forward
    if x.shape[1] == norm.num_features:
        return normalise(norm, x)
    last = x.movedim(1, -1)
    flat = last.unflatten(-1, (norm.M, -1)).flatten(-3, -2)
    return normalise(norm, flat.movedim(-1, 1)).movedim(1, -1).reshape(last.shape).movedim(-1, 1)
