"""How a network's dimensions depend on one another: one pass on the meta device in which every dimension has a name.

A dimension of a parameter is a symbol. What the pass computes with it says what it must equal: both sides of a sum have
the same dimensions, a concatenation has the sum of its parts', a layer reads what it is given. What comes out fixed,
by the images, the classes or a number that stands in the network's code, is no width; every other symbol is.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ensembles.backbones.trace import on_meta, trace
from ensembles.errors import Foreign, reason


@dataclass(frozen=True)
class Extent:
    """A dimension that follows from widths: ``constant`` plus a multiple of each symbol."""

    constant: Fraction
    terms: Mapping[int, Fraction]

    def __add__(self, other: "Extent | int") -> "Extent":
        other = as_extent(other)
        symbols = {*self.terms, *other.terms}
        terms = {s: self.terms.get(s, Fraction(0)) + other.terms.get(s, Fraction(0)) for s in symbols}
        return Extent(self.constant + other.constant, {s: factor for s, factor in terms.items() if factor})

    def __mul__(self, factor: int | Fraction) -> "Extent":
        return Extent(self.constant * factor, {s: own * factor for s, own in self.terms.items()})

    def __sub__(self, other: "Extent | int") -> "Extent":
        return self + as_extent(other) * -1

    def at(self, sizes: Mapping[int, int] | Sequence[int]) -> Fraction:
        return self.constant + sum(factor * sizes[symbol] for symbol, factor in self.terms.items())


Dim = int | Extent


def as_extent(dim: Dim | Fraction) -> Extent:
    return dim if isinstance(dim, Extent) else Extent(Fraction(int(dim)), {})


class Equations:
    """Symbols, and what each that another follows from equals."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.solved: dict[int, Extent] = {}
        self.whole: list[Extent] = []  # what must come out as an integer
        self.of_tensors: set[int] = set()  # symbols of parameters and buffers

    def symbol(self, size: int, of_tensor: bool = False) -> Extent:
        if of_tensor:
            self.of_tensors.add(len(self.sizes))
        self.sizes.append(size)
        return Extent(Fraction(0), {len(self.sizes) - 1: Fraction(1)})

    def resolve(self, dim: Dim) -> Extent:
        dim = as_extent(dim)
        while any(symbol in self.solved for symbol in dim.terms):
            for symbol, factor in dim.terms.items():
                if symbol in self.solved:
                    dim = dim - Extent(Fraction(0), {symbol: factor}) + self.solved[symbol] * factor
                    break
        return dim

    def simple(self, dim: Dim) -> Dim:
        """Resolve a dimension; one that is fixed comes out as an integer."""
        if not isinstance(dim, Extent):
            return int(dim)
        dim = self.resolve(dim)
        return dim if dim.terms else int(dim.constant)

    def size(self, dim: Dim) -> int:
        return int(as_extent(dim).at(self.sizes))

    def equate(self, one: Dim, other: Dim) -> None:
        rest = self.resolve(one) - self.resolve(other)
        if not rest.terms:
            return
        signs = {factor > 0 for factor in rest.terms.values()}
        if rest.constant and len(signs) == 1:  # parts of a whole that is fixed
            self.solved |= {symbol: as_extent(self.sizes[symbol]) for symbol in rest.terms}
            return
        symbol = max(rest.terms, key=lambda s: (abs(rest.terms[s]) == 1, s))
        factor = rest.terms[symbol]
        self.solved[symbol] = (rest - Extent(Fraction(0), {symbol: factor})) * (-1 / factor)
        self.whole.append(self.solved[symbol])

    def fix(self, dim: Dim) -> int:
        self.equate(dim, self.size(dim))
        return self.size(dim)

    def divide(self, dim: Dim, parts: int) -> Dim:
        """Divide a dimension into equal parts, which must come out whole."""
        if not isinstance(dim, Extent):
            return dim // parts
        part = dim * Fraction(1, parts)
        self.whole.append(part)
        return part

    def solve(self, ratio: float, multiple: int = 1) -> tuple[list[int], dict[int, int]]:
        """Multiply the free symbols by ``ratio`` and round up to what is whole everywhere, and a ``multiple``.

        Returns:
            all symbols' sizes, and of widths that were rounded the new one by the old.
        """
        multiples, whole = [multiple] * len(self.sizes), [self.resolve(dim) for dim in self.whole]
        while True:
            sizes, rounded = list(self.sizes), {}
            for symbol, size in enumerate(self.sizes):
                if symbol not in self.solved:
                    exact = round(size * ratio, 6)
                    sizes[symbol] = multiples[symbol] * math.ceil(exact / multiples[symbol])
                    if sizes[symbol] != exact and symbol in self.of_tensors:
                        rounded[size] = sizes[symbol]
            broken = next((dim for dim in whole if dim.at(sizes).denominator > 1), None)
            if broken is None:
                break
            for symbol, factor in broken.terms.items():
                multiples[symbol] = math.lcm(multiples[symbol], factor.denominator)
        for symbol in self.solved:
            sizes[symbol] = int(self.resolve(Extent(Fraction(0), {symbol: Fraction(1)})).at(sizes))
        return sizes, rounded


Attribute = tuple[str, str, int | None]  # module, name, place in a list
COUNTS = ("num", "n_", "heads", "groups")  # what the names of integers begin with that are no widths


class Known(int):
    """An integer in a network's code of which is known where it comes from.

    Attributes:
        extent: the width that it is, read from a tensor's shape; else None.
        terms: the attributes of modules that it is computed from: products of them, each with its factor. A divisor is
            taken as a count, of heads, say.
    """

    extent: Extent | None
    terms: Mapping[tuple[Attribute, ...], Fraction]

    def __new__(cls, value: int, extent: Extent | None = None, terms=MappingProxyType({})) -> "Known":
        number = super().__new__(cls, value)
        number.extent, number.terms = extent, terms
        return number

    def __deepcopy__(self, memo: dict) -> int:
        return int(self)

    @property
    def attributes(self) -> list[Attribute]:
        return [name for product in self.terms for name in product]

    def __add__(self, other):
        return _plus(self, other, super().__add__(other), 1)

    def __sub__(self, other):
        return _plus(self, other, super().__sub__(other), -1)

    def __rsub__(self, other):
        return _plus(Known(other, as_extent(other), {(): Fraction(other)}), self, int(other) - int(self), -1)

    def __mul__(self, other):
        value = super().__mul__(other)
        if not isinstance(other, int):
            return value
        one, two = (self, other) if self.extent is not None else (other, self)
        if _extent(two) is not None:
            return Known(value)
        if _extent(one) is not None:
            return Known(value, one.extent * int(two))
        terms: dict[tuple[Attribute, ...], Fraction] = {}
        for mine, factor in self.terms.items():
            for theirs, times in _terms(other).items():
                terms[mine + theirs] = terms.get(mine + theirs, 0) + factor * times
        return Known(value, None, terms)

    def __floordiv__(self, other):
        value = super().__floordiv__(other)
        if not isinstance(other, int) or int(self) % other or _extent(other) is not None:
            return value
        part = Fraction(1, int(other))
        if self.extent is not None:
            return Known(value, self.extent * part)
        return Known(value, None, {product: factor * part for product, factor in self.terms.items()})

    __radd__, __rmul__ = __add__, __mul__


def _extent(number: int) -> Extent | None:
    return number.extent if isinstance(number, Known) else None


def _terms(number: int) -> Mapping[tuple[Attribute, ...], Fraction]:
    return number.terms if isinstance(number, Known) else {(): Fraction(number)}


def _plus(one: Known, other: int, value: int, sign: int) -> int:
    if not isinstance(other, int):
        return value
    extents = [number.extent if isinstance(number, Known) else as_extent(number) for number in (one, other)]
    if None not in extents:
        return Known(value, extents[0] + extents[1] * sign)
    terms = dict(one.terms)
    for product, factor in _terms(other).items():
        terms[product] = terms.get(product, 0) + factor * sign
    return Known(value, None, terms if one.extent is None and _extent(other) is None else {})


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
    """

    equations: Equations
    tensors: dict[str, tuple[Dim, ...]]
    attributes: dict[Attribute, Dim]
    parts: list[tuple[str, Extent]]
    first: list[str]
    last: list[str]

    def shape(self, name: str, sizes: Sequence[int]) -> tuple[int, ...]:
        """Give a tensor's shape where the symbols have these sizes."""
        return tuple(int(self.equations.resolve(dim).at(sizes)) for dim in self.tensors[name])


def dimensions(network: nn.Module, input_shape: tuple[int, ...]) -> Dimensions:
    """Follow a pass of two inputs of ``input_shape`` on the meta device.

    Raises:
        Foreign: the network fails on such inputs.
    """
    shadow = on_meta(network)
    pass_ = _Pass(shadow)
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
    classes = equations.resolve(pass_.dims(output)[-1])
    layers = {
        step.name: pass_.tensors[f"{step.name}.weight"] for step in plan.steps if f"{step.name}.weight" in pass_.tensors
    }
    first = [
        name
        for name, dims in layers.items()
        if {*equations.resolve(dims[1]).terms} == {*equations.resolve(channels).terms} != set()
    ]
    last = [name for name, dims in layers.items() if classes.terms and equations.resolve(dims[0]) == classes]
    for dim in (channels, *pass_.dims(output)):
        equations.fix(dim)
    reads = {f"{name}.weight" for name in layers}
    parameters = {name for name, _ in shadow.named_parameters()}
    given = {
        symbol
        for name in parameters & pass_.tensors.keys()
        for place, dim in enumerate(pass_.tensors[name])
        if place != 1 or name not in reads
        for symbol in equations.resolve(dim).terms
    }
    for name in pass_.tensors.keys() - parameters:  # what a buffer alone gives is no width
        for dim in pass_.tensors[name]:
            if equations.resolve(dim).terms.keys().isdisjoint(given):
                equations.fix(dim)
    return Dimensions(
        equations, pass_.tensors, pass_.attributes, pass_.parts, first or [plan.first], last or [plan.last]
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

    def __init__(self, pass_: "_Pass") -> None:
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


class _Pass(TorchDispatchMode):
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
        rule = RULES.get(func.overloadpacket.__name__.removesuffix("_"))
        if rule is None:
            with self:
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        schema = func._schema.arguments
        given = {argument.name: argument.default_value for argument in schema}
        given |= dict(zip((argument.name for argument in schema), args, strict=False)) | kwargs
        result = func(*args, **kwargs)
        results = _tensors(result)
        found = rule(self, given, results) if rule else None
        inputs = _tensors((args, kwargs))
        for i, tensor in enumerate(results):
            self.set_dims(tensor, found[i] if found else self._elementwise(inputs, tensor))
        return result

    def _elementwise(self, inputs: list[Tensor], result: Tensor) -> list[Dim]:
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

    def given(self, size: int) -> int | None:
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
            name = self._width_of(number)
            times, rest = Fraction(0), as_extent(dim)
            for product, factor in number.terms.items():
                others = [other for other in product if other != name]
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
        equations = self.equations
        sized = self.function in SIZED and len(self.numbers) >= len(shape)
        numbers = list(self.numbers[-len(shape) :]) if sized else [None] * len(shape)
        if self.function == "unflatten" and self.numbers:
            inner = self.numbers[1:]
            start = self.numbers[0] % tensor.dim()
            numbers = [None] * start + inner + [None] * (len(shape) - start - len(inner))
            sized = True
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
            place = places[0] if len(places) == 1 else self._split_place(whole, places, shape, numbers, sized)
            if place is None:
                equations.fix(whole)
                continue
            others = math.prod(shape[i] for i in places) // shape[place]
            dims[place] = equations.divide(whole, others)
            if len(places) > 1:
                self.parts.append((self._running[-1], dims[place]))
            if sized:
                self.demand(numbers[place], dims[place])
        return dims

    def _split_place(
        self, whole: Extent, places: list[int], shape: Sequence[int], numbers: list[int | None], sized: bool
    ) -> int | None:
        """Choose the part that has the width, the others being counts: of heads, of groups, of pixels."""
        if sized:
            told = [i for i in places if isinstance(numbers[i], Known) and numbers[i].extent is not None]
            free = [i for i in places if numbers[i] == -1 or isinstance(numbers[i], Known)]
            widths = [i for i in free if numbers[i] == -1 or not self._is_count(numbers[i])]
            return (told or widths or [None])[-1]
        size = [i for i in places if shape[i] in {self.equations.sizes[symbol] for symbol in whole.terms}]
        return (size or places)[-1]

    def part(self, number: int | None, size: int) -> Dim:
        """Give a part of a width, of which an integer in the network's code says how large it is."""
        if not isinstance(number, Known):
            return size
        if number.extent is None and not number.attributes:
            return self.equations.symbol(size)
        if number.extent is not None:
            return number.extent if number == size else size
        dim = self.equations.symbol(size)
        self.demand(number, dim)
        return dim

    def stretch(self, tensor: Tensor, shape: Sequence[int]) -> list[Dim]:
        """Give the dimensions of a tensor that is repeated along those of size 1."""
        dims = [1] * (len(shape) - tensor.dim()) + list(self.dims(tensor))
        sized = self.function in SIZED and len(self.numbers) >= len(shape)
        numbers = self.numbers[-len(shape) :] if sized else [None] * len(shape)
        found = []
        for dim, n, number in zip(dims, shape, numbers, strict=True):
            if dim != 1 or n == 1:
                found.append(dim)
            else:  # as many as others have, unless the code says how many
                found.append(self.equations.symbol(n) if number is None else self.part(number, n))
        return found

    def _is_count(self, number: Known) -> bool:
        return bool(number.attributes) and all(name[1].startswith(COUNTS) for name in number.attributes)


RULES: dict[str, Callable] = {}


def _rule(*names: str) -> Callable:
    def register(function: Callable) -> Callable:
        RULES.update(dict.fromkeys(names, function))
        return function

    return register


@_rule(
    "view",
    "reshape",
    "_unsafe_view",
    "_reshape_alias",
    "flatten",
    "unflatten",
    "unsqueeze",
    "squeeze",
    "view_as_complex",
    "view_as_real",
)
def _regroup(pass_: _Pass, given: dict, results: list[Tensor]):
    return [pass_.regroup(given["self"], results[0].shape)]


@_rule("permute")
def _permute(pass_: _Pass, given: dict, results: list[Tensor]):
    dims = pass_.dims(given["self"])
    return [[dims[i] for i in given["dims"]]]


@_rule("transpose", "swapaxes")
def _transpose(pass_: _Pass, given: dict, results: list[Tensor]):
    dims = list(pass_.dims(given["self"]))
    one, two = (given[key] for key in ("dim0", "dim1"))
    if dims:
        dims[one], dims[two] = dims[two], dims[one]
    return [dims]


@_rule("t")
def _t(pass_: _Pass, given: dict, results: list[Tensor]):
    return [pass_.dims(given["self"])[::-1]]


@_rule("linear")
def _linear(pass_: _Pass, given: dict, results: list[Tensor]):
    *batch, inputs = pass_.dims(given["input"])
    outputs, reads = pass_.dims(given["weight"])
    pass_.equations.equate(inputs, reads)
    if given["bias"] is not None:
        pass_.equations.equate(outputs, pass_.dims(given["bias"])[0])
    return [[*batch, outputs]]


@_rule("matmul", "mm", "bmm", "mv", "dot", "addmm", "baddbmm")
def _matmul(pass_: _Pass, given: dict, results: list[Tensor]):
    added = given.get("self") if "batch1" in given or "mat1" in given else None
    keys = ("mat1", "batch1", "self"), ("mat2", "batch2", "other", "vec", "tensor")
    one, two = (next(list(pass_.dims(given[key])) for key in names if key in given) for names in keys)
    lone = len(one) == 1, len(two) == 1
    one = [1, *one] if lone[0] else one
    two = [*two, 1] if lone[1] else two
    pass_.equations.equate(one[-1], two[-2])
    batch = max(one[:-2], two[:-2], key=len)
    for place in range(1, min(len(one), len(two)) - 1):
        left, right = one[-2 - place], two[-2 - place]
        if 1 not in (left, right):
            pass_.equations.equate(left, right)
        batch[-place] = right if left == 1 else left
    dims = [*batch, *([] if lone[0] else [one[-2]]), *([] if lone[1] else [two[-1]])]
    if added is not None:
        for own, dim in zip(reversed(pass_.dims(added)), reversed(dims), strict=False):
            if own != 1:
                pass_.equations.equate(own, dim)
    return [dims]


@_rule("scaled_dot_product_attention")
def _attention(pass_: _Pass, given: dict, results: list[Tensor]):
    q, k, v = (pass_.dims(given[key]) for key in ("query", "key", "value"))
    pass_.equations.equate(q[-1], k[-1])
    pass_.equations.equate(k[-2], v[-2])
    for ours, theirs in zip(q[:-2], k[:-2], strict=True):
        if 1 not in (ours, theirs):
            pass_.equations.equate(ours, theirs)
    if given["attn_mask"] is not None:
        for own, dim in zip(reversed(pass_.dims(given["attn_mask"])), (k[-2], q[-2], *reversed(q[:-2])), strict=False):
            if own != 1:
                pass_.equations.equate(own, dim)
    return [[*q[:-1], v[-1]]]


@_rule("conv1d", "conv2d", "conv3d", "convolution", "conv_transpose2d")
def _convolution(pass_: _Pass, given: dict, results: list[Tensor]):
    equations = pass_.equations
    batch, inputs = pass_.dims(given["input"])[:2]
    weight, groups = pass_.dims(given["weight"]), int(given["groups"])
    for dim in weight[2:]:
        equations.fix(dim)
    outputs, reads = weight[:2]
    transposed = results[0].shape[1] != equations.size(outputs) or (
        "output_padding" in given and given.get("transposed", True)
    )
    if transposed:
        equations.equate(inputs, outputs)
        outputs = reads if groups == 1 else equations.fix(reads) * groups
        if groups > 1:
            equations.fix(inputs)
    elif groups == 1:
        equations.equate(inputs, reads)
    elif equations.size(reads) == 1:
        pass_.demand(pass_.given(groups), inputs)
        equations.equate(outputs, as_extent(inputs) * (equations.size(outputs) // groups))
    else:
        equations.equate(reads, equations.divide(inputs, groups))
        equations.divide(outputs, groups)
    if given["bias"] is not None:
        equations.equate(outputs, pass_.dims(given["bias"])[0])
    space = [
        dim if kernel == 1 and equations.size(dim) == size else equations.fix(dim) and size
        for dim, kernel, size in zip(
            pass_.dims(given["input"])[2:], given["weight"].shape[2:], results[0].shape[2:], strict=True
        )
    ]
    return [[batch, outputs, *space]]


@_rule(
    "batch_norm",
    "instance_norm",
    "native_batch_norm",
    "_native_batch_norm_legit",
    "_native_batch_norm_legit_no_training",
    "cudnn_batch_norm",
)
def _batch_norm(pass_: _Pass, given: dict, results: list[Tensor]):
    dims = pass_.dims(given["input"])
    for key in ("weight", "bias", "running_mean", "running_var"):
        if given.get(key) is not None:
            pass_.equations.equate(pass_.dims(given[key])[0], dims[1])
    return [dims, *(tuple(tensor.shape) for tensor in results[1:])]


@_rule("group_norm", "native_group_norm")
def _group_norm(pass_: _Pass, given: dict, results: list[Tensor]):
    dims = pass_.dims(given["input"])
    for key in ("weight", "bias"):
        if given.get(key) is not None:
            pass_.equations.equate(pass_.dims(given[key])[0], dims[1])
    groups = int(given.get("num_groups", given.get("group")))
    if groups == pass_.equations.size(dims[1]) > 1:
        pass_.demand(pass_.given(groups), dims[1])
    else:
        pass_.equations.divide(dims[1], groups)
    return [dims, *(tuple(tensor.shape) for tensor in results[1:])]


@_rule("layer_norm", "native_layer_norm", "rms_norm", "_fused_rms_norm")
def _layer_norm(pass_: _Pass, given: dict, results: list[Tensor]):
    dims = pass_.dims(given["input"])
    shape = given["normalized_shape"]
    for key in ("weight", "bias"):
        if given.get(key) is not None:
            for own, dim in zip(pass_.dims(given[key]), dims[-len(shape) :], strict=True):
                pass_.equations.equate(own, dim)
    if len(pass_.numbers) >= len(shape):
        for number, dim in zip(pass_.numbers, dims[-len(shape) :], strict=False):
            pass_.demand(number, dim)
    return [dims, *(tuple(tensor.shape) for tensor in results[1:])]


@_rule("cat", "concat", "concatenate")
def _cat(pass_: _Pass, given: dict, results: list[Tensor]):
    tensors = [tensor for tensor in given["tensors"] if tensor.shape != (0,)]
    along = given["dim"] % results[0].dim()
    parts = [pass_.dims(tensor) for tensor in tensors]
    dims = list(parts[0])
    for other in parts[1:]:
        for place, dim in enumerate(other):
            if place == along:
                dims[place] = _total([dims[place], dim])
            else:
                pass_.equations.equate(dims[place], dim)
    return [dims]


def _total(dims: Sequence[Dim]) -> Dim:
    total = sum((as_extent(dim) for dim in dims), as_extent(0))
    return total if total.terms else int(total.constant)


@_rule("stack")
def _stack(pass_: _Pass, given: dict, results: list[Tensor]):
    parts = [pass_.dims(tensor) for tensor in given["tensors"]]
    for other in parts[1:]:
        for one, two in zip(parts[0], other, strict=True):
            pass_.equations.equate(one, two)
    dims = list(parts[0])
    dims.insert(given["dim"] % results[0].dim(), len(parts))
    return [dims]


@_rule("split", "split_with_sizes")
def _split(pass_: _Pass, given: dict, results: list[Tensor]):
    dims = list(pass_.dims(given["self"]))
    along = given["dim"] % len(dims)
    whole = pass_.equations.simple(dims[along])
    sizes = [tensor.shape[along] for tensor in results]
    if not isinstance(whole, Extent):
        return [[*dims[:along], size, *dims[along + 1 :]] for size in sizes]
    asked = next(value for key, value in given.items() if key.startswith("split_size"))
    if isinstance(asked, int) or pass_.function == "chunk":
        number = None if pass_.function == "chunk" else pass_.given(sizes[0])
        if len(set(sizes)) > 1:
            pass_.equations.fix(whole)
            parts = sizes
        elif number is None:
            parts = [pass_.equations.divide(whole, len(sizes))] * len(sizes)
        else:
            parts = [pass_.part(number, sizes[0])] * len(sizes)
    else:
        told = pass_.numbers[: len(sizes)] if len(pass_.numbers) >= len(sizes) else sizes
        parts = [pass_.part(number, size) for number, size in zip(told, sizes, strict=True)]
    pass_.equations.equate(whole, _total(parts))
    return [[*dims[:along], part, *dims[along + 1 :]] for part in parts]


@_rule("slice", "narrow")
def _slice(pass_: _Pass, given: dict, results: list[Tensor]):
    dims = list(pass_.dims(given["self"]))
    along = given["dim"] % len(dims)
    whole, size = pass_.equations.simple(dims[along]), results[0].shape[along]
    dims[along] = size
    if not isinstance(whole, Extent):
        return [dims]
    total = given["self"].shape[along]
    if size == total:
        dims[along] = whole
    elif given.get("step", 1) > 1:
        dims[along] = pass_.equations.divide(whole, given["step"])
    elif "length" in given:
        dims[along] = pass_.part(pass_.given(given["length"]), size)
    else:
        start, end = given["start"] or 0, min(total if given["end"] is None else given["end"], total)
        start, end = (n + total if n < 0 else n for n in (start, end))
        ends = [
            0
            if n == 0
            else whole
            if n == total
            else pass_.part(pass_.given(n), n)
            if pass_.given(n) is not None
            else whole - pass_.part(pass_.given(n - total), total - n)
            if pass_.given(n - total) is not None
            else None
            for n in (start, end)
        ]
        if None in ends:
            pass_.equations.fix(whole)
        else:
            dims[along] = pass_.equations.simple(as_extent(ends[1]) - ends[0])
    return [dims]


@_rule("unbind", "select")
def _select(pass_: _Pass, given: dict, results: list[Tensor]):
    dims = list(pass_.dims(given["self"]))
    pass_.equations.fix(dims.pop(given["dim"]))
    return [dims] * len(results)


@_rule("expand")
def _expand(pass_: _Pass, given: dict, results: list[Tensor]):
    return [pass_.stretch(given["self"], results[0].shape)]


@_rule("repeat")
def _repeat(pass_: _Pass, given: dict, results: list[Tensor]):
    tensor = given["self"]
    dims = [1] * (results[0].dim() - tensor.dim()) + list(pass_.dims(tensor))
    found = []
    for dim, times in zip(dims, given["repeats"], strict=True):
        number = pass_.given(times) if times > 1 else None
        if dim == 1 and number is not None:
            found.append(pass_.part(number, times))
        else:
            found.append(dim * times)
    return [found]


@_rule(
    "mean",
    "sum",
    "amax",
    "amin",
    "max",
    "min",
    "var",
    "std",
    "norm",
    "linalg_vector_norm",
    "logsumexp",
    "prod",
    "any",
    "all",
    "argmax",
    "argmin",
    "var_mean",
    "median",
    "aminmax",
)
def _reduce(pass_: _Pass, given: dict, results: list[Tensor]):
    tensor = given.get("self", given.get("input"))
    if isinstance(given.get("other"), Tensor):
        return [pass_._elementwise([tensor, given["other"]], results[0])]
    dims = list(pass_.dims(tensor))
    along = given.get("dim")
    along = range(len(dims)) if along is None or along == [] else [along] if isinstance(along, int) else along
    along = {place % len(dims) for place in along} if dims else set()
    if given.get("keepdim"):
        found = [1 if place in along else dim for place, dim in enumerate(dims)]
    else:
        found = [dim for place, dim in enumerate(dims) if place not in along]
    return [found] * len(results)


@_rule("index")
def _index(pass_: _Pass, given: dict, results: list[Tensor]):
    tensor, indices = given["self"], given["indices"]
    dims = list(pass_.dims(tensor))
    used = [place for place, index in enumerate(indices) if index is not None]
    for place in used:
        pass_.equations.fix(dims[place])
    kept = [dim for place, dim in enumerate(dims) if place not in used]
    new = results[0].dim() - len(kept)
    at = used[0] if used[-1] - used[0] == len(used) - 1 else 0
    found = list(results[0].shape)
    for place, dim in zip([*range(at), *range(at + new, len(found))], kept, strict=True):
        found[place] = dim
    return [found]


@_rule("gather")
def _gather(pass_: _Pass, given: dict, results: list[Tensor]):
    return [pass_.dims(given["index"])]


@_rule("index_select", "embedding")
def _index_select(pass_: _Pass, given: dict, results: list[Tensor]):
    if "weight" in given:
        number, width = pass_.dims(given["weight"])
        pass_.equations.fix(number)
        return [[*results[0].shape[:-1], width]]
    dims = list(pass_.dims(given["self"]))
    pass_.equations.fix(dims[given["dim"]])
    dims[given["dim"]] = results[0].shape[given["dim"]]
    return [dims]


@_rule("im2col")
def _im2col(pass_: _Pass, given: dict, results: list[Tensor]):
    batch, channels = pass_.dims(given["self"])[:2]
    return [[batch, channels * math.prod(given["kernel_size"]), results[0].shape[-1]]]


@_rule("col2im")
def _col2im(pass_: _Pass, given: dict, results: list[Tensor]):
    batch, channels = pass_.dims(given["self"])[:2]
    return [[batch, pass_.equations.divide(channels, math.prod(given["kernel_size"])), *results[0].shape[2:]]]


@_rule("pixel_shuffle", "pixel_unshuffle")
def _pixel_shuffle(pass_: _Pass, given: dict, results: list[Tensor]):
    batch, channels = pass_.dims(given["self"])[:2]
    factor = given.get("upscale_factor", given.get("downscale_factor")) ** 2
    changed = pass_.equations.divide(channels, factor) if "upscale_factor" in given else channels * factor
    return [[batch, changed, *results[0].shape[2:]]]


@_rule("unfold")
def _unfold(pass_: _Pass, given: dict, results: list[Tensor]):
    dims = list(pass_.dims(given["self"]))
    pass_.equations.fix(dims[given["dimension"]])
    dims[given["dimension"]] = results[0].shape[given["dimension"]]
    return [[*dims, given["size"]]]


@_rule("topk", "sort", "kthvalue", "mode")
def _topk(pass_: _Pass, given: dict, results: list[Tensor]):
    dims = list(pass_.dims(given["self"]))
    if dims and results[0].shape[given["dim"]] != given["self"].shape[given["dim"]]:
        pass_.equations.fix(dims[given["dim"]])
        dims[given["dim"]] = results[0].shape[given["dim"]]
    return [dims] * len(results)


@_rule("constant_pad_nd")
def _pad(pass_: _Pass, given: dict, results: list[Tensor]):
    dims = list(pass_.dims(given["self"]))
    for place, (before, after) in enumerate(zip(given["pad"][::2], given["pad"][1::2], strict=True), 1):
        for amount in (before, after):
            if amount:
                number = pass_.given(amount)
                dims[-place] = _total([dims[-place], amount if number is None else pass_.part(number, amount)])
    return [dims]


@_rule(
    "empty",
    "zeros",
    "ones",
    "full",
    "rand",
    "randn",
    "new_zeros",
    "new_ones",
    "new_empty",
    "new_full",
    "arange",
    "eye",
    "linspace",
)
def _factory(pass_: _Pass, given: dict, results: list[Tensor]):
    numbers = {int(n): n.extent for n in pass_.numbers if isinstance(n, Known) and n.extent is not None}
    return [[numbers.get(n, n) for n in results[0].shape]]
