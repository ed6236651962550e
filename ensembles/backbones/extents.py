"""Dimensions as sums of multiples of symbols, and the equations between the symbols."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from ensembles.errors import UserError


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
        while known := [symbol for symbol in dim.terms if symbol in self.solved]:
            symbol, factor = known[0], dim.terms[known[0]]
            dim = dim - Extent(Fraction(0), {symbol: factor}) + self.solved[symbol] * factor
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

    def fix(self, dim: Dim) -> None:
        self.equate(dim, self.size(dim))

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

        Raises:
            UserError: no multiples are whole everywhere.
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
            before = list(multiples)
            for symbol, factor in broken.terms.items():
                multiples[symbol] = math.lcm(multiples[symbol], factor.denominator)
            if multiples == before:
                raise UserError(
                    f"At {ratio:g} times its width the network cannot be split into whole groups or heads, since a "
                    "fixed number of channels is among them: choose alpha = M, or another model."
                )
        for symbol in self.solved:
            sizes[symbol] = int(self.resolve(self.solved[symbol]).at(sizes))
        return sizes, rounded


def total(dims: Sequence[Dim]) -> Dim:
    """Add dimensions up."""
    whole = sum((as_extent(dim) for dim in dims), as_extent(0))
    return whole if whole.terms else int(whole.constant)
