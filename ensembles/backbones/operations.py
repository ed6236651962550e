"""What each operation's result has for dimensions, and what its inputs' must equal; see `dimensions.Pass`.

A rule takes the pass, the results and the operation's arguments by their names, with its first tensor as ``x``. An
operation that has none is taken apart into those that it is composed of, or else taken as one on single elements.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from ensembles.backbones.extents import Dim, Extent, as_extent, total
from ensembles.backbones.known import extent_of

if TYPE_CHECKING:
    from ensembles.backbones.dimensions import Pass

OPERATIONS: dict[str, Callable[..., list[Sequence[Dim]]]] = {}


def _rule(names: str) -> Callable:
    def register(function: Callable) -> Callable:
        OPERATIONS.update(dict.fromkeys(names.split(), function))
        return function

    return register


def _with(dims: Sequence[Dim], place: int, dim: Dim) -> list[Dim]:
    place %= len(dims)
    return [*dims[:place], dim, *dims[place + 1 :]]


def _match(run: "Pass", one: Sequence[Dim], other: Sequence[Dim]) -> None:
    """Equate dimensions from the last on, but those of size 1."""
    for mine, theirs in zip(reversed(one), reversed(other), strict=False):
        if 1 not in (mine, theirs):
            run.equations.equate(mine, theirs)


@_rule("view reshape _unsafe_view _reshape_alias flatten unflatten unsqueeze squeeze view_as_complex view_as_real")
def _view(run, out, x, **_):
    return [run.regroup(x, out[0].shape)]


@_rule("permute")
def _permute(run, out, x, dims, **_):
    return [[run.dims(x)[place] for place in dims]]


@_rule("transpose swapaxes")
def _transpose(run, out, x, **given):
    dims, (dim0, dim1) = run.dims(x), (given.get(f"dim{i}", given.get(f"axis{i}")) for i in (0, 1))
    return [_with(_with(dims, dim0, dims[dim1]), dim1, dims[dim0])]


@_rule("t")
def _t(run, out, x, **_):
    return [run.dims(x)[::-1]]


@_rule("linear")
def _linear(run, out, x, weight, bias, **_):
    *batch, inputs = run.dims(x)
    outputs, reads = run.dims(weight)
    run.equations.equate(inputs, reads)
    if bias is not None:
        run.equations.equate(outputs, run.dims(bias)[0])
    return [[*batch, outputs]]


@_rule("addmm baddbmm")
def _added(run, out, x, **given):
    one, other = (given[key] for key in (("mat1", "mat2") if "mat1" in given else ("batch1", "batch2")))
    (dims,) = _matmul(run, out, one, other=other)
    _match(run, run.dims(x), dims)
    return [dims]


@_rule("matmul mm bmm mv dot")
def _matmul(run, out, x, **given):
    other = next(given[key] for key in ("other", "mat2", "vec", "tensor") if key in given)
    one, two = list(run.dims(x)), list(run.dims(other))
    row, column = len(one) == 1, len(two) == 1  # vectors
    one, two = [1, *one] if row else one, [*two, 1] if column else two
    run.equations.equate(one[-1], two[-2])
    _match(run, one[:-2], two[:-2])
    missing = len(one) - len(two)
    left, right = [1] * -missing + one[:-2], [1] * missing + two[:-2]
    batch = [theirs if mine == 1 else mine for mine, theirs in zip(left, right, strict=True)]
    return [[*batch, *([] if row else [one[-2]]), *([] if column else [two[-1]])]]


@_rule("lstm")
def _lstm(run, out, x, params, bidirectional, **_):
    inputs = run.dims(x)[-1]
    kinds = [tensor for tensor in params if tensor.dim() == 2]
    for place, (reads, keeps) in enumerate(zip(kinds[::2], kinds[1::2], strict=True)):
        hidden = run.dims(keeps)[1]
        for tensor, width in ((reads, inputs), (keeps, hidden)):
            run.equations.equate(run.dims(tensor)[1], width)
            run.equations.equate(run.dims(tensor)[0], as_extent(hidden) * 4)
        if not bidirectional or place % 2:
            inputs = as_extent(hidden) * (2 if bidirectional else 1)
    for tensor in params:
        if tensor.dim() == 1:
            run.equations.equate(run.dims(tensor)[0], as_extent(hidden) * 4)
    return [[*out[0].shape[:-1], inputs], *([*tensor.shape[:-1], hidden] for tensor in out[1:])]


@_rule("scaled_dot_product_attention")
def _attention(run, out, query, key, value, attn_mask, **_):
    q, k, v = (run.dims(tensor) for tensor in (query, key, value))
    run.equations.equate(q[-1], k[-1])
    run.equations.equate(k[-2], v[-2])
    _match(run, q[:-2], k[:-2])
    if attn_mask is not None:
        _match(run, run.dims(attn_mask), [*q[:-1], k[-2]])
    return [[*q[:-1], v[-1]]]


@_rule("conv1d conv2d conv3d convolution")
def _convolution(run, out, x, weight, bias, groups, transposed=False, **_):
    if transposed:
        return _transposed(run, out, x, weight, bias, groups)
    equations = run.equations
    batch, inputs, *space = run.dims(x)
    outputs, reads, *kernel = run.dims(weight)
    for dim in kernel:
        equations.fix(dim)
    if groups == 1:
        equations.equate(inputs, reads)
    elif equations.size(reads) == 1:  # a filter or more for each channel
        run.demand(run.number(groups), inputs)
        equations.equate(outputs, as_extent(inputs) * (equations.size(outputs) // groups))
    else:
        equations.equate(reads, equations.divide(inputs, groups))
        equations.divide(outputs, groups)
    if bias is not None:
        equations.equate(outputs, run.dims(bias)[0])
    for place, size in enumerate(out[0].shape[2:]):
        if weight.shape[2 + place] != 1 or equations.size(space[place]) != size:
            equations.fix(space[place])
            space[place] = size
    return [[batch, outputs, *space]]


@_rule("conv_transpose1d conv_transpose2d conv_transpose3d")
def _transposed(run, out, x, weight, bias, groups, **_):
    equations = run.equations
    batch, inputs, *_space = run.dims(x)
    reads, gives, *kernel = run.dims(weight)
    for dim in kernel:
        equations.fix(dim)
    equations.equate(inputs, reads)
    if groups > 1 and equations.size(gives) == 1 and groups == equations.size(inputs):
        run.demand(run.number(int(groups)), inputs)
        outputs = inputs
    else:
        equations.divide(inputs, groups)
        outputs = gives * groups
    if bias is not None:
        equations.equate(outputs, run.dims(bias)[0])
    return [[batch, outputs, *out[0].shape[2:]]]


@_rule("batch_norm instance_norm native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training")
def _batch_norm(run, out, x, weight=None, bias=None, running_mean=None, running_var=None, **_):
    dims = run.dims(x)
    for own in (weight, bias, running_mean, running_var):
        if own is not None:
            run.equations.equate(run.dims(own)[0], dims[1])
    return [dims, *(tensor.shape for tensor in out[1:])]


@_rule("group_norm")
def _group_norm(run, out, x, num_groups, weight, bias, **_):
    dims = run.dims(x)
    if int(num_groups) == run.equations.size(dims[1]) > 1:
        run.demand(run.number(num_groups), dims[1])
    else:
        run.equations.divide(dims[1], int(num_groups))
    return _batch_norm(run, out, x, weight, bias)


@_rule("layer_norm rms_norm")
def _layer_norm(run, out, x, normalized_shape, weight=None, bias=None, **_):
    dims = run.dims(x)
    normed = dims[-len(normalized_shape) :]
    for own in (weight, bias):
        if own is not None:
            _match(run, run.dims(own), normed)
    for number, dim in zip(run.numbers, normed, strict=False):
        run.demand(number, dim)
    return [dims]


@_rule("cat concat concatenate")
def _cat(run, out, tensors, dim=0, **_):
    parts = [run.dims(tensor) for tensor in tensors if tensor.shape != (0,)]
    along = dim % out[0].dim()
    for other in parts[1:]:
        _match(run, _with(parts[0], along, 1), other)
    return [_with(parts[0], along, total([part[along] for part in parts]))]


@_rule("stack")
def _stack(run, out, tensors, dim=0, **_):
    parts = [run.dims(tensor) for tensor in tensors]
    for other in parts[1:]:
        _match(run, parts[0], other)
    dims = list(parts[0])
    dims.insert(dim % out[0].dim(), len(parts))
    return [dims]


@_rule("split split_with_sizes")
def _split(run, out, x, dim=0, **given):
    dims, sizes = run.dims(x), [tensor.shape[dim] for tensor in out]
    whole = run.equations.simple(dims[dim])
    asked = next(value for key, value in given.items() if key.startswith("split_size"))
    if not isinstance(whole, Extent):
        parts = sizes
    elif isinstance(asked, int) or run.function == "chunk":
        number = None if run.function == "chunk" else run.number(sizes[0])
        if len(set(sizes)) > 1:
            run.equations.fix(whole)
            parts = sizes
        elif number is None:
            parts = [run.equations.divide(whole, len(sizes))] * len(sizes)
        else:
            parts = [run.part(number, sizes[0])] * len(sizes)
    else:
        told = run.numbers[: len(sizes)] if len(run.numbers) >= len(sizes) else sizes
        parts = [run.part(number, size) for number, size in zip(told, sizes, strict=True)]
    run.equations.equate(whole, total(parts))
    return [_with(dims, dim, part) for part in parts]


@_rule("slice narrow")
def _slice(run, out, x, dim=0, start=None, end=None, step=1, length=None, **_):
    dims, size = run.dims(x), out[0].shape[dim]
    whole = run.equations.simple(dims[dim])
    if not isinstance(whole, Extent) or size == x.shape[dim]:
        part = whole if size == x.shape[dim] else size
    elif step > 1:
        part = run.equations.divide(whole, step)
    elif length is not None:
        part = run.part(run.number(length), size)
    else:
        ends = [_end(run, whole, x.shape[dim], n) for n in (start or 0, x.shape[dim] if end is None else end)]
        part = size
        if None in ends:
            run.equations.fix(whole)
        else:
            part = run.equations.simple(as_extent(ends[1]) - ends[0])
    return [_with(dims, dim, part)]


def _end(run: "Pass", whole: Extent, size: int, place: int) -> Dim | None:
    """Give a place in a width as a dimension: counted from its beginning, or from its end."""
    if place == 0 or place >= size:
        return whole if place else 0
    number = run.number(place)
    if number is None:
        number = run.number(-place)
        return None if number is None else whole - run.part(number, abs(place))
    return run.part(number, place) if place > 0 else whole + run.part(number, place)


@_rule("unbind select")
def _select(run, out, x, dim=0, **_):
    dims = list(run.dims(x))
    run.equations.fix(dims.pop(dim))
    return [dims] * len(out)


@_rule("expand")
def _expand(run, out, x, **_):
    return [run.stretch(x, out[0].shape)]


@_rule("repeat")
def _repeat(run, out, x, repeats, **_):
    dims = [1] * (out[0].dim() - x.dim()) + list(run.dims(x))
    numbers = [run.number(times) for times in repeats]
    return [
        [
            run.part(number, times) if dim == 1 and number is not None else dim * times
            for dim, times, number in zip(dims, repeats, numbers, strict=True)
        ]
    ]


@_rule(
    "mean sum amax amin max min var std norm linalg_vector_norm logsumexp prod any all argmax argmin var_mean median"
)
def _reduce(run, out, x, dim=None, keepdim=False, other=None, **_):
    if isinstance(other, Tensor):
        return [run.elementwise([x, other], out[0])]
    dims = run.dims(x)
    places = range(len(dims)) if dim is None or dim == [] else [dim] if isinstance(dim, int) else dim
    gone = {place % len(dims) for place in places}
    found = [1 if place in gone else own for place, own in enumerate(dims) if keepdim or place not in gone]
    return [found] * len(out)


@_rule("index")
def _index(run, out, x, indices, **_):
    dims = run.dims(x)
    used = [place for place, index in enumerate(indices) if index is not None]
    for place in used:
        run.equations.fix(dims[place])
    rest = [dim for place, dim in enumerate(dims) if place not in used]
    new = out[0].dim() - len(rest)
    at = used[0] if used[-1] - used[0] == len(used) - 1 else 0
    return [[*rest[:at], *out[0].shape[at : at + new], *rest[at:]]]


@_rule("gather")
def _gather(run, out, index, **_):
    return [run.dims(index)]


@_rule("embedding")
def _embedding(run, out, weight, **_):
    number, width = run.dims(weight)
    run.equations.fix(number)
    return [[*out[0].shape[:-1], width]]


@_rule("index_select unfold topk sort")
def _taken(run, out, x, **given):
    dim = given.get("dim", given.get("dimension"))
    dims = run.dims(x)
    if out[0].shape[dim] != x.shape[dim]:
        run.equations.fix(dims[dim])
        dims = _with(dims, dim, out[0].shape[dim])
    return [[*dims, *out[0].shape[len(dims) :]]] * len(out)


@_rule("im2col col2im pixel_shuffle pixel_unshuffle")
def _space_and_channels(run, out, x, **_):
    """Places of the image become channels, or channels places."""
    batch, channels = run.dims(x)[:2]
    more, less = out[0].shape[1], x.shape[1]
    moved = channels * (more // less) if more > less else run.equations.divide(channels, less // more)
    return [[batch, moved, *out[0].shape[2:]]]


@_rule("constant_pad_nd")
def _pad(run, out, x, pad, **_):
    dims = list(run.dims(x))
    for place, amounts in enumerate(zip(pad[::2], pad[1::2], strict=True), 1):
        known = [(run.number(amount), amount) for amount in amounts if amount]
        added = [amount if number is None else run.part(number, amount) for number, amount in known]
        dims[-place] = total([dims[-place], *added])
    return [dims]


@_rule("empty zeros ones full rand randn new_zeros new_ones new_empty new_full arange eye linspace")
def _factory(run, out, **_):
    widths = {int(number): extent_of(number) for number in run.numbers if extent_of(number) is not None}
    return [[widths.get(n, n) for n in out[0].shape]]
