"""Integers in a network's code that tell where they come from: from a tensor's shape, or from modules' attributes."""

from collections.abc import Mapping
from fractions import Fraction
from types import MappingProxyType

from ensembles.backbones.extents import Extent, as_extent

Attribute = tuple[str, str, int | None]  # module, name, place in a list


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
        if extent_of(two) is not None:
            return Known(value)
        if extent_of(one) is not None:
            return Known(value, one.extent * int(two))
        terms: dict[tuple[Attribute, ...], Fraction] = {}
        for mine, factor in self.terms.items():
            for theirs, times in _terms(other).items():
                terms[mine + theirs] = terms.get(mine + theirs, 0) + factor * times
        return Known(value, None, terms)

    def __floordiv__(self, other):
        value = super().__floordiv__(other)
        if not isinstance(other, int) or int(self) % other or extent_of(other) is not None:
            return value
        part = Fraction(1, int(other))
        if self.extent is not None:
            return Known(value, self.extent * part)
        return Known(value, None, {product: factor * part for product, factor in self.terms.items()})

    __radd__, __rmul__ = __add__, __mul__


def extent_of(number: int | None) -> Extent | None:
    """Give the width that an integer is, read from a tensor's shape."""
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
    return Known(value, None, terms if one.extent is None and extent_of(other) is None else {})
