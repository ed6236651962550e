"""How a network's dimensions depend on one another: one pass on the meta device in which every dimension has a name.

A dimension of a parameter is a symbol. What the pass computes with it says what it must equal: both sides of a sum have
the same dimensions, a concatenation has the sum of its parts', a layer reads what it is given. What comes out fixed,
by the images, the classes or a number that stands in the network's code, is no width; every other symbol is.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ensembles.backbones.extents import Dim, Equations, Extent, as_extent
from ensembles.backbones.known import Attribute, Known, extent_of
from ensembles.backbones.operations import OPERATIONS
from ensembles.backbones.trace import Trace, on_meta, trace
from ensembles.errors import Foreign, reason

# What the names of integers begin with that are no widths.
COUNTS = ("num", "n_", "heads", "groups", "kernel", "window", "patch", "stride")


@dataclass
class Dimensions:
    """What a pass has found.

    Attributes:
        equations: between the symbols of the dimensions.
        tensors: dimensions of the parameters and buffers that the pass used, by name.
        attributes: what integers in modules must equal.
        parts: a module's name and a dimension into which it splits a width, for what follows from its root.
        first: layers that read the image's channels; without any, the one that runs first.
        last: layers whose outputs are the classes; without any, the one that runs last.
        plan: the layers in the order in which they run.
    """

    equations: Equations
    tensors: dict[str, tuple[Dim, ...]]
    attributes: dict[Attribute, Dim]
    parts: list[tuple[str, Extent]]
    first: list[str]
    last: list[str]
    plan: Trace

    def shape(self, name: str, sizes: Sequence[int]) -> tuple[int, ...]:
        """Give a tensor's shape where the symbols have these sizes."""
        return tuple(int(self.equations.resolve(dim).at(sizes)) for dim in self.tensors[name])


def dimensions(network: nn.Module, input_shape: tuple[int, ...]) -> Dimensions:
    """Follow a pass of two inputs of ``input_shape`` on the meta device.

    Raises:
        Foreign: the network fails on such inputs.
    """
    shadow = on_meta(network)
    pass_ = Pass(shadow)
    plan, equations = trace(network, input_shape), pass_.equations
    channels = equations.symbol(input_shape[0])
    try:
        with torch.inference_mode(), pass_, _Numbers(pass_):
            x = torch.empty(2, *input_shape, device="meta")
            pass_.set_dims(x, (2, channels, *input_shape[1:]))
            output = shadow(x)
    except Exception as error:  # whatever a network's own code raises
        raise Foreign(
            f"{type(network).__name__} cannot be followed: {type(error).__name__}, {reason(error)}."
        ) from error
    weights = {step.name: f"{step.name}.weight" for step in plan.steps}
    layers = {name: pass_.tensors[weight] for name, weight in weights.items() if weight in pass_.tensors}
    colours, classes = equations.resolve(channels).terms.keys(), equations.resolve(pass_.dims(output)[-1])
    first = [name for name, dims in layers.items() if colours and equations.resolve(dims[1]).terms.keys() == colours]
    last = [name for name, dims in layers.items() if classes.terms and equations.resolve(dims[0]) == classes]
    for dim in (channels, *pass_.dims(output)):
        equations.fix(dim)
    reads = {weights[name] for name in layers}
    given: set[int] = set()  # symbols that parameters have, but for what layers read
    for name, _ in shadow.named_parameters():
        for place, dim in enumerate(pass_.tensors.get(name, ())):
            if place != 1 or name not in reads:
                given |= equations.resolve(dim).terms.keys()
    for name, _ in shadow.named_buffers():
        for dim in pass_.tensors.get(name, ()):
            if equations.resolve(dim).terms.keys().isdisjoint(given):  # what a buffer alone gives is no width
                equations.fix(dim)
    return Dimensions(
        equations, pass_.tensors, pass_.attributes, pass_.parts, first or [plan.first], last or [plan.last], plan
    )


def ends(network: nn.Module, input_shape: tuple[int, ...]) -> tuple[list[str], list[str]]:
    """Name the layers that read the images' channels and those that give the classes; most often it is one each."""
    try:
        found = dimensions(network, input_shape)
    except Foreign:
        plan = trace(network, input_shape)
        return [plan.first], [plan.last]
    return found.first, found.last


def _tensors(tree: object) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _mark_attributes(network: nn.Module) -> dict[Attribute, int]:
    """Let every integer in the modules tell where it comes from; give them all."""
    integers: dict[Attribute, int] = {}

    def known(value: int, *attribute) -> Known:
        integers[attribute] = value
        return Known(value, None, {(attribute,): Fraction(1)})

    for name, module in network.named_modules():
        for key, value in list(vars(module).items()):
            if type(value) is int and not key.startswith("_"):
                vars(module)[key] = known(value, name, key, None)
            elif type(value) in (tuple, list) and value and all(type(n) is int for n in value):
                vars(module)[key] = type(value)(known(n, name, key, i) for i, n in enumerate(value))
    return integers


SIZED = {"view", "reshape", "unflatten", "expand"}  # what is told the shape that comes out


class _Numbers(TorchFunctionMode):
    """Notes the integers that each function is given, and lets tensors' shapes tell what they are."""

    def __init__(self, pass_: "Pass") -> None:
        super().__init__()
        self.pass_ = pass_

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in (Tensor.shape.__get__, Tensor.size):
            return self._shape(func, *args, **kwargs)
        pass_ = self.pass_
        leaves = tree_leaves((args[1:] if args and isinstance(args[0], Tensor) else args, kwargs))
        numbers = []
        for leaf in leaves:
            numbers += [leaf.start, leaf.stop] if isinstance(leaf, slice) else [leaf]
        numbers = [number for number in numbers if isinstance(number, int) and not isinstance(number, bool)]
        pass_.function, pass_.numbers = getattr(func, "__name__", ""), numbers
        try:
            return func(*args, **kwargs)
        finally:
            pass_.function, pass_.numbers = "", []

    def _shape(self, func, tensor: Tensor, *args, **kwargs):
        shape = func(tensor, *args, **kwargs)
        dims = [self.pass_.equations.simple(dim) for dim in self.pass_.dims(tensor)]
        known = [Known(n, dim) if isinstance(dim, Extent) else n for n, dim in zip(tensor.shape, dims, strict=True)]
        if isinstance(shape, torch.Size):
            return torch.Size(known) if any(isinstance(n, Known) for n in known) else shape
        return known[args[0] if args else kwargs["dim"]]


class Pass(TorchDispatchMode):
    """One pass: gives each result its dimensions, and notes what must be equal for it to be computed.

    Attributes:
        function: that is running, and the ``numbers`` that it was given.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.equations = Equations()
        self.attributes: dict[Attribute, Dim] = {}
        self.tensors: dict[str, tuple[Dim, ...]] = {}
        self.parts: list[tuple[str, Extent]] = []
        self.function, self.numbers = "", []
        self._running: list[str] = [""]
        self._names = {}
        self._integers = _mark_attributes(network)
        for name, module in network.named_modules():
            has_kernel = hasattr(module, "kernel_size")
            tensors = {**module._parameters, **module._buffers}
            for key, tensor in tensors.items():
                if tensor is not None:
                    full = f"{name}.{key}" if name else key
                    self._names.setdefault(id(tensor), (full, has_kernel))
            module.register_forward_pre_hook(lambda module, inputs, name=name: self._running.append(name))
            module.register_forward_hook(lambda *_: (self._running.pop(), None)[1])

    def dims(self, tensor: Tensor) -> tuple[Dim, ...]:
        """Give a tensor's dimensions: integers where they are fixed."""
        owner, dims = getattr(tensor, "_dims", (None, None))
        if owner is not self:  # a network may keep tensors from one pass to the next
            dims = tuple(tensor.shape)
            if id(tensor) in self._names:
                name, has_kernel = self._names[id(tensor)]
                widths = 2 if has_kernel else tensor.dim()
                dims = tuple(
                    self.equations.symbol(n, True) if n > 1 and i < widths else n for i, n in enumerate(tensor.shape)
                )
                self.tensors[name] = dims
            self.set_dims(tensor, dims)
        return dims

    def set_dims(self, tensor: Tensor, dims: Sequence[Dim]) -> None:
        tensor._dims = self, tuple(dims)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        rule = OPERATIONS.get(func.overloadpacket.__name__.removesuffix("_"))
        if rule is None:
            with self:
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        schema = func._schema.arguments
        given = {argument.name: argument.default_value for argument in schema}
        given |= dict(zip((argument.name for argument in schema), args, strict=False)) | kwargs
        given["x"] = given.pop("self", given.get("input"))
        result = func(*args, **kwargs)
        results = _tensors(result)
        found = rule(self, results, **given) if rule else None
        inputs = _tensors((args, kwargs))
        for i, tensor in enumerate(results):
            self.set_dims(tensor, found[i] if found else self.elementwise(inputs, tensor))
        return result

    def elementwise(self, inputs: list[Tensor], result: Tensor) -> list[Dim]:
        """Take the dimensions of inputs of which each element of the result is computed; others' must be fixed."""
        dims: list[Dim] = list(result.shape)
        for place in range(1, result.dim() + 1):
            own = [
                self.dims(tensor)[-place]
                for tensor in inputs
                if tensor.dim() >= place and tensor.shape[-place] == result.shape[-place]
            ]
            if own:
                dims[-place] = own[0]
                for other in own[1:]:
                    self.equations.equate(own[0], other)
        for tensor in inputs:
            for place in range(1, tensor.dim() + 1):
                lost = place > result.dim() or tensor.shape[-place] not in (1, result.shape[-place])
                if lost:
                    self.equations.fix(self.dims(tensor)[-place])
        return dims

    def number(self, size: int) -> int | None:
        """Find the integer of this size that the running function was given."""
        return next((n for n in reversed(self.numbers) if n == size and isinstance(n, Known)), None)

    def demand(self, number: int | None, dim: Dim) -> None:
        """Require of an integer in the network's code that it is this dimension."""
        if not isinstance(number, Known):
            if number is not None and number >= 0:
                self.equations.fix(dim)
        elif number.extent is not None:
            self.equations.equate(number.extent, dim)
        elif number.attributes:
            # The number is a sum of products of attributes: dim = times * name + others, solved for the width's name.
            name = self._width_of(number)
            times, rest = Fraction(0), as_extent(dim)
            for product, factor in number.terms.items():
                others = [other for other in product if other != name]
                if len(others) < len(product) - 1:  # a square, so no width
                    self.equations.fix(dim)
                    return
                if len(others) < len(product):
                    times += factor * math.prod(self._integers[other] for other in others)
                else:
                    known = math.prod(self._integers[other] for other in others[1:])
                    own = self.attributes.get(others[0], self._integers[others[0]]) if others else 1
                    rest = rest - as_extent(own) * (factor * known)
            value = rest * (1 / times)
            if name in self.attributes:
                self.equations.equate(self.attributes[name], value)
            elif value.terms:
                self.equations.whole.append(value)
                self.attributes[name] = value

    def _width_of(self, number: Known) -> Attribute:
        """Choose which of the attributes that it is computed from has the width."""
        names = number.attributes
        widths = [name for name in names if not name[1].startswith(COUNTS)]
        unknown = [name for name in widths if name not in self.attributes]
        known = [name for name in names if name in self.attributes]
        return (unknown if len(number.terms) > 1 and unknown else known or widths or names)[-1]

    def regroup(self, tensor: Tensor, shape: Sequence[int]) -> list[Dim]:
        """Give the dimensions of a tensor's numbers in another shape: blocks of dimensions merge and split."""
        equations, told = self.equations, self._told(shape, tensor.dim())
        dims: list[Dim] = list(shape)
        ins = [(n, equations.simple(dim)) for n, dim in zip(tensor.shape, self.dims(tensor), strict=True) if n != 1]
        outs = [place for place, n in enumerate(shape) if n != 1]
        while ins and outs:
            block, places = [ins.pop(0)], [outs.pop(0)]
            while (before := math.prod(n for n, _ in block)) != (after := math.prod(shape[i] for i in places)):
                if before < after:
                    block.append(ins.pop(0))
                else:
                    places.append(outs.pop(0))
            widths = [dim for _, dim in block if isinstance(dim, Extent)]
            if len(widths) > 1:
                for dim in widths:
                    equations.fix(dim)
            if len(widths) != 1:
                continue
            whole = equations.simple(widths[0] * (math.prod(n for n, _ in block) // equations.size(widths[0])))
            if isinstance(whole, int):
                continue
            place = places[0] if len(places) == 1 else self._split_place(whole, places, shape, told)
            if place is None:
                equations.fix(whole)
                continue
            others = math.prod(shape[i] for i in places) // shape[place]
            dims[place] = equations.divide(whole, others)
            if len(places) > 1:
                self.parts.append((self._running[-1], dims[place]))
            if told:
                self.demand(told[place], dims[place])
        return dims

    def _told(self, shape: Sequence[int], inputs: int) -> list[int | None] | None:
        """Give the sizes in a shape as the running function was given them; None where it was not.

        Args:
            inputs: dimensions of the tensor that gets the shape.
        """
        if self.function == "unflatten" and self.numbers:
            start, inner = self.numbers[0] % inputs, self.numbers[1:]
            return [None] * start + inner + [None] * (len(shape) - start - len(inner))
        sized = self.function in SIZED and len(self.numbers) >= len(shape)
        return self.numbers[-len(shape) :] if sized else None

    def _split_place(
        self, whole: Extent, places: list[int], shape: Sequence[int], told: list[int | None] | None
    ) -> int | None:
        """Choose the part that has the width, the others being counts: of heads, of groups, of pixels."""
        if told:
            known = [i for i in places if extent_of(told[i]) is not None]
            free = [i for i in places if told[i] == -1 or isinstance(told[i], Known)]
            widths = [i for i in free if told[i] == -1 or not _is_count(told[i])]
            return (known or widths or [None])[-1]
        size = [i for i in places if shape[i] in {self.equations.sizes[symbol] for symbol in whole.terms}]
        return (size or places)[-1]

    def part(self, number: int | None, size: int) -> Dim:
        """Give a part of a width, of which an integer in the network's code says how large it is."""
        extent = extent_of(number)
        if not isinstance(number, Known) or extent is not None:
            return extent if number == size and extent is not None else size
        dim = self.equations.symbol(size)
        self.demand(number, dim)
        return dim

    def stretch(self, tensor: Tensor, shape: Sequence[int]) -> list[Dim]:
        """Give the dimensions of a tensor that is repeated along those of size 1."""
        dims = [1] * (len(shape) - tensor.dim()) + list(self.dims(tensor))
        told = self._told(shape, tensor.dim()) or [None] * len(shape)
        for place, (n, number) in enumerate(zip(shape, told, strict=True)):
            if dims[place] == 1 and n != 1:  # as many as others have, unless the code says how many
                dims[place] = self.equations.symbol(n) if number is None else self.part(number, n)
        return dims


def _is_count(number: Known) -> bool:
    return bool(number.attributes) and all(name[1].startswith(COUNTS) for name in number.attributes)
