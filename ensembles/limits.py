"""What values the papers' symbols and the settings can take: one table, for the command line and for Python callers."""

from ensembles.errors import UserError


def _integer(low):
    return lambda v: isinstance(v, int) and not isinstance(v, bool) and v >= low, f"an integer of at least {low}"


def _number(low, high=float("inf"), *, open_low=False, open_high=False):
    def holds(v):
        if isinstance(v, bool) or not isinstance(v, int | float):
            return False
        return (v > low if open_low else v >= low) and (v < high if open_high else v <= high)

    if high == float("inf"):
        return holds, f"a number {'above' if open_low else 'of at least'} {low}"
    return holds, f"a number from {low} to {high}" + (f", {high} itself left out" if open_high else "")


_FLAG = lambda v: isinstance(v, bool), "true or false"

LIMITS = {
    "M": _integer(1),
    "alpha": _number(0, open_low=True),
    "gamma": _integer(1),
    "rho": _number(0, 1),
    "rate": _number(0, 1, open_high=True),
    "samples": _integer(1),
    "width": _number(0, open_low=True),
    "depth": _integer(1),
    "widen_factor": _integer(1),
    "min_channels": _integer(1),
    "ghost_batch": _integer(1),
    "method.scale": _number(1, 6),
    "budget": _number(0, open_low=True),
    "templates": _integer(1),
    "fast_lr": _number(0),
    "batch_repetition": _integer(1),
    "val_fraction": _number(0, 1, open_high=True),
    "image_size": _integer(1),
    "epochs": _integer(1),
    "batch_size": _integer(1),
    "eval_batch_size": _integer(1),
    "lr": _number(0, open_low=True),
    "momentum": _number(0, 1, open_high=True),
    "weight_decay": _number(0),
    "label_smoothing": _number(0, 1, open_high=True),
    "l1": _number(0),
    "l2": _number(0),
    "warmup_epochs": _number(0),
    "seed": _integer(0),
    "num_workers": _integer(0),
    "temperature_scaling": _FLAG,
    "restrict_classes": _FLAG,
    "save_predictions": _FLAG,
}


def require(where: str = "", **values) -> None:
    """Check each value against the limits of its name; None passes, as does a name without limits.

    Raises:
        UserError: a sentence that names the key (``where`` is put before it), its value and what it can be.
    """
    for name, value in values.items():
        holds, wanted = LIMITS.get(f"{where}{name}") or LIMITS.get(name) or (None, None)
        if value is not None and holds is not None and not holds(value):
            raise UserError(f"{where}{name} is {value!r}, but must be {wanted}.")
