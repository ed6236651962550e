"""Numbers as the papers print them."""

MISSING = "-"


def percent(fraction: float | None) -> str:
    """0.9412 -> 94.1, without the sign: a column's head carries it."""
    return MISSING if fraction is None else f"{100 * fraction:.1f}"


def decimal(value: float | None) -> str:
    """0.12345 -> 0.123; large ones lose decimals rather than widen a column."""
    if value is None:
        return MISSING
    return f"{value:.3f}" if abs(value) < 1000 else f"{value:.1f}" if abs(value) < 1e6 else f"{value:.3g}"


def three_digits(value: float | None) -> str:
    """0.0062612 -> 0.00626."""
    return MISSING if value is None else f"{value:#.3g}"


def count(value: float | None) -> str:
    """8175784 -> 8.18 M, 480900000 -> 481 M, 640 -> 640."""
    if value is None:
        return MISSING
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= 0.9995 * size:  # what would round to 1000 of the smaller unit is 1.00 of this one
            return f"{_three_digits(value / size)} {letter}"
    return _three_digits(value) if value % 1 else f"{value:.0f}"


def _three_digits(value: float) -> str:
    return f"{value:.{max(0, 3 - len(str(int(abs(value) * 1.0005))))}f}"


def mean(values: list[float] | None) -> float | None:
    return sum(values) / len(values) if values else None
