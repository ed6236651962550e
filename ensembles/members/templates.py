"""Template banks (MixtureEnsembles, section 3.1): how many templates there are, and which a layer mixes."""

from collections import defaultdict
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ensembles.members.layers import Layer

AS_ABSOLUTE = 1000  # a budget from here on is a number of parameters, below it a multiple of the backbone's


def multiple(budget: float, params: int) -> Fraction:
    """The budget over the backbone's parameters, exactly as it is written."""
    return Fraction(str(budget)) if budget < AS_ABSOLUTE else Fraction(int(budget), params)


def by_shape(layers: list[Layer]) -> list[list[Layer]]:
    """Layers of one type and shape together, in the network's order."""
    groups: dict[tuple, list[Layer]] = defaultdict(list)
    for layer in layers:
        groups[layer.kind, layer.shape, layer.groups].append(layer)
    return list(groups.values())


def dealt(templates: int, layers: int, M: int, each: int, disjoint: bool) -> Tensor:
    """Which templates member m mixes in layer j: indices (M, layers, each), dealt round robin.

    Corresponding layers of all members get the same ones; with ``disjoint`` each member in turn gets the next ones, so
    they differ until all are dealt.
    """
    hands = M if disjoint else 1
    order = torch.arange(layers * hands * each, device="cpu") % templates
    return order.view(layers, hands, each).transpose(0, 1).expand(M, -1, -1).contiguous()


class Bank(nn.Module):
    """Templates of one shape that a group's layers and all members share (equations 1 and 2).

    Attributes:
        templates: (n, size of a layer), each with the inputs' dimension last, as convolutions in channels-last run.
        mixing: (M, layers, templates a layer).
    """

    def __init__(self, group: list[Layer], weights: list[Tensor], M: int, n: int, each: int, disjoint: bool) -> None:
        super().__init__()
        self.group = group
        each = min(each, n)
        spread = _spread(torch.cat([weight.flatten() for weight in weights]))
        self.templates = nn.Parameter(torch.randn(n, group[0].size, device=spread.device) * spread)
        self.mixing = nn.Parameter(_start(M, each, weights, spread))
        index = dealt(n, len(group), M, each, disjoint).to(spread.device)
        self.register_buffer("dealt", index, persistent=False)

    def weights(self, m: int) -> dict[str, Tensor]:
        """Member m's weights of the group's layers."""
        mixing = self.mixing[m]
        dense = mixing.new_zeros(len(mixing), len(self.templates)).scatter(1, self.dealt[m], mixing)
        mixed = (dense @ self.templates).unbind(0)
        return {layer.weight: _shaped(weight, layer) for layer, weight in zip(self.group, mixed, strict=True)}


class FlatBank(nn.Module):
    """One run of numbers for layers of any shape: a layer's templates are its next slices, wrapping round.

    Section 5.1, for the smallest budget.

    Attributes:
        blob: (size,).
        mixing: (M, layers, templates a layer).
    """

    def __init__(self, group: list[Layer], weights: list[Tensor], M: int, size: int, each: int, disjoint: bool) -> None:
        super().__init__()
        self.group = group
        spread = _spread(torch.cat([weight.flatten() for weight in weights]))
        self.blob = nn.Parameter(torch.randn(size, device=spread.device) * spread)
        self.mixing = nn.Parameter(_start(M, each, weights, spread))
        self.pieces: list[list[Piece]] = [[] for _ in range(M)]
        start = 0
        for j, layer in enumerate(group):
            for m in range(M):
                for t in range(each):
                    self.pieces[m] += _pieces(j, t, start + t * layer.size, layer.size, size)
                if disjoint or m == M - 1:
                    start = (start + each * layer.size) % size

    def weights(self, m: int) -> dict[str, Tensor]:
        """Member m's weights of all layers."""
        mixed = _MixPieces.apply(self.blob, self.mixing[m], [layer.size for layer in self.group], self.pieces[m])
        return {layer.weight: _shaped(weight, layer) for layer, weight in zip(self.group, mixed, strict=True)}


class Piece(NamedTuple):
    """An unbroken part of a layer's template: ``source`` in the blob, ``target`` in the layer's weight."""

    layer: int
    template: int
    source: slice
    target: slice


def _pieces(layer: int, template: int, start: int, length: int, size: int) -> Iterator[Piece]:
    done = 0
    while done < length:
        place = (start + done) % size
        part = min(length - done, size - place)
        yield Piece(layer, template, slice(place, place + part), slice(done, done + part))
        done += part


class _MixPieces(torch.autograd.Function):
    """Flat weights out of a blob; by hand, since autograd would make a blob of zeros for the gradient of each piece."""

    @staticmethod
    def forward(ctx, blob: Tensor, mixing: Tensor, sizes: list[int], pieces: list[Piece]) -> tuple[Tensor, ...]:
        ctx.save_for_backward(blob, mixing)
        ctx.pieces = pieces
        weights = tuple(blob.new_zeros(size) for size in sizes)
        for j, t, source, target in pieces:
            weights[j][target].addcmul_(blob[source], mixing[j, t])
        return weights

    @staticmethod
    def backward(ctx, *gradients: Tensor):
        blob, mixing = ctx.saved_tensors
        to_blob, to_mixing = torch.zeros_like(blob), torch.zeros_like(mixing)
        for j, t, source, target in ctx.pieces:
            to_blob[source].addcmul_(gradients[j][target], mixing[j, t])
            to_mixing[j, t] += gradients[j][target] @ blob[source]
        return to_blob, to_mixing, None, None


def _spread(numbers: Tensor) -> Tensor:
    """Root mean square; not zero, since templates of zeros would never learn."""
    return numbers.detach().square().mean().sqrt().clamp_min(1e-3)


def _start(M: int, each: int, weights: list[Tensor], spread: Tensor) -> Tensor:
    """Mixing weights (M, layers, each), random in direction, with which mixed weights have their layer's own variance.

    Templates are independent, so the variance of a mix is theirs times the sum of the squared mixing weights.
    """
    mixing = torch.randn(M, len(weights), each, device=spread.device)
    mixing /= mixing.norm(dim=-1, keepdim=True)
    ratios = torch.stack([weight.detach().square().mean().sqrt() for weight in weights]) / spread
    return mixing * ratios[:, None]


def _shaped(flat: Tensor, layer: Layer) -> Tensor:
    """A weight (outputs, inputs / groups, ...) out of numbers that have the inputs' dimension last."""
    outputs, inputs, *space = layer.shape
    return flat.view(outputs, *space, inputs).movedim(-1, 1)
