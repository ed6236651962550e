"""TreeNet (Lee et al., 2015; a baseline of MIMO, section 3.2): a trunk that all members share, a branch for each."""

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from ensembles.backbones.trace import on_meta, trace
from ensembles.errors import UserError, reason
from ensembles.limits import require, settings_of
from ensembles.methods.base import Backbone, Ensemble, Method, fresh
from ensembles.methods.folded import forwards


class TreeNetwork(Ensemble):
    """M networks that hold the same modules up to ``split``, which run once for all members; -> (M, B, K).

    Args:
        backbone: a network (member 0; the other branches' layers are drawn anew), or a function that builds one.
        split: name of the module with which the branches begin. None is what MIMO (section 3.2) compares with, the
            third residual group: stem and first two groups are shared; in other networks the block at two thirds of
            the depth.
        input_shape: shape of one input, (C, H, W) for images.

    Attributes:
        networks: the members, ordinary networks; the trunk's modules are the same objects in all of them.

    Raises:
        UserError: M out of its range, or a network that cannot be cut there.
    """

    def __init__(
        self, backbone: Backbone, M: int = 4, split: str | None = None, input_shape: tuple[int, ...] = (3, 32, 32)
    ) -> None:
        super().__init__()
        require(M=M)
        self.M, self.input_shape = M, tuple(input_shape)
        networks = fresh(backbone, M)
        splits = default_splits(networks[0], input_shape) if split is None else [str(split)]
        for self.split in splits:
            try:
                return self._share(networks)
            except UserError:
                if self.split == splits[-1]:
                    raise
            networks = fresh(backbone, M)

    def _share(self, networks: list[nn.Module]) -> None:
        self.trunk = find_trunk(networks[0], self.split, self.input_shape)
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


treenet = TreeNetwork


class TreeNet(Method):
    """A shared trunk with M branches, all trained on the same batch; settings as `treenet` takes them."""

    @settings_of(treenet)
    def __init__(self, backbone: Backbone, input_shape: tuple[int, ...], reduction: str = "sum", **settings) -> None:
        super().__init__(treenet(backbone, input_shape=input_shape, **settings), reduction=reduction)


STAGE = "layer3"  # what follows the stem and the first two groups, in this package's and in most libraries' ResNets


@dataclass(frozen=True)
class Trunk:
    """What a network computes before one of its modules first runs.

    Attributes:
        calls: dotted names of the outermost modules that have then run to their end, and how often they ran; the last
            one to end is last.
        loose: dotted names of the parameters outside these modules that went into it, a position embedding's say.
    """

    calls: dict[str, int]
    loose: tuple[str, ...]

    def share(self, source: nn.Module, network: nn.Module) -> None:
        """Put the modules and parameters of ``source`` that belong to the trunk into a network of its architecture."""
        for name in self.calls:
            network.set_submodule(name, source.get_submodule(name))
        for name in self.loose:
            owner, _, key = name.rpartition(".")
            setattr(network.get_submodule(owner), key, source.get_parameter(name))


def find_trunk(network: nn.Module, split: str, input_shape: tuple[int, ...]) -> Trunk:
    """Find, by a pass on the meta device, the trunk of a network whose rest begins with the module ``split``.

    Raises:
        UserError: the network has no such module, or does not run it.
    """
    _require_module(network, split)
    shadow = on_meta(network)
    names = {module: name for name, module in shadow.named_modules()}
    running: list[str] = []  # in the end the modules that are at work when ``split`` begins
    ended: list[tuple[str, str | None]] = []  # modules that have then run to their end, each with the one that ran it
    reached: list[Tensor] | None = None  # what ``split`` is given; None while it has not begun

    def begin(module: nn.Module, args: tuple, kwargs: dict) -> None:
        nonlocal reached
        if reached is None and names[module] == split:
            reached = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        elif reached is None:
            running.append(names[module])

    def end(module: nn.Module, args: tuple, output: object) -> None:
        if reached is None:
            running.pop()
            ended.append((names[module], running[-1] if running else None))

    for module in shadow.modules():
        module.register_forward_pre_hook(begin, with_kwargs=True)
        module.register_forward_hook(end)
    with torch.enable_grad():
        shadow(torch.empty(2, *input_shape, device="meta"))
    if reached is None:
        raise UserError(f"method.split: the network never runs {split} by itself, so name one of the modules in it.")
    calls: dict[str, int] = {}
    for name, caller in ended:
        if caller in running:
            calls[name] = calls.pop(name, 0) + 1
    inside = {id(p) for name in calls for p in shadow.get_submodule(name).parameters()}
    outside = {name: p for name, p in shadow.named_parameters() if id(p) not in inside and p.requires_grad}
    return Trunk(calls, tuple(_that_reach(reached, outside)))


def _that_reach(tensors: list[Tensor], parameters: Mapping[str, nn.Parameter]) -> Iterator[str]:
    ends = [tensor for tensor in tensors if tensor.requires_grad]
    if ends and parameters:
        seeds = [torch.empty_like(end) for end in ends]
        gradients = torch.autograd.grad(ends, list(parameters.values()), seeds, allow_unused=True)
        yield from (name for name, gradient in zip(parameters, gradients, strict=True) if gradient is not None)


def _require_module(network: nn.Module, split: str) -> None:
    names = [name for name, _ in network.named_modules() if name]
    if split not in names:
        near = difflib.get_close_matches(split, names)
        tops = [name for name, _ in network.named_children()]
        hint = f"did you mean {' or '.join(near)}?" if near else f"it has {', '.join(tops)}."
        raise UserError(f"method.split={split} is no module of this {type(network).__name__}: {hint}")


def default_splits(network: nn.Module, input_shape: tuple[int, ...]) -> list[str]:
    """Name the third group of a residual network; in others the block that holds the layer at two thirds of the depth.

    What comes after are places for a network that cannot be cut there. A block is what stands in the network's chain of
    modules: an `nn.Sequential` is part of the chain, anything else a block.
    """
    steps = trace(network, input_shape).steps
    hidden = len(steps) - 1
    places = [2 * hidden // 3, hidden // 2, 3 * hidden // 4, hidden // 3, 9 * hidden // 10, hidden]
    blocks = [_block(network, steps[min(hidden, max(1, place))].name) for place in places]
    return list(dict.fromkeys([STAGE, *blocks] if STAGE in dict(network.named_children()) else blocks))


def _block(network: nn.Module, layer: str) -> str:
    parts = layer.split(".")
    for depth in range(1, len(parts)):
        if not isinstance(network.get_submodule(".".join(parts[:depth])), nn.Sequential | nn.ModuleList):
            return ".".join(parts[:depth])
    return layer


@contextmanager
def computed_once(calls: Mapping[nn.Module, int]) -> Iterator[Callable[[], None]]:
    """Let modules compute in a first pass only, and hand out in later ones what they gave then.

    Args:
        calls: how many calls of a pass are to be handed out again; the network may change the last module's output in
            place, so it is handed out as a copy.

    Yields:
        what to call at the beginning of each pass.
    """
    last = list(calls)[-1] if calls else None
    recorders = {module: _Recorder(module, times, copies=module is last) for module, times in calls.items()}

    def rewind() -> None:
        for recorder in recorders.values():
            recorder.turn = 0

    with forwards(recorders):
        yield rewind


class _Recorder:
    def __init__(self, module: nn.Module, calls: int, copies: bool) -> None:
        self.compute, self.calls, self.copies = module.forward, calls, copies
        self.outputs: list = []
        self.turn = 0

    def __call__(self, *args, **kwargs):
        turn, self.turn = self.turn, self.turn + 1
        if turn >= self.calls:
            return self.compute(*args, **kwargs)
        if turn == len(self.outputs):
            self.outputs.append(self.compute(*args, **kwargs))
        output = self.outputs[turn]
        return output.clone() if self.copies and isinstance(output, Tensor) else output
