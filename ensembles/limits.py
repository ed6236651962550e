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


def _one_of(*choices):
    listed = ", ".join(str(choice).lower() for choice in choices[:-1]) + f" or {str(choices[-1]).lower()}"
    return lambda v: any(type(v) is type(choice) and v == choice for choice in choices), listed


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
    "initialisation": _one_of("own", "common"),
    "batches": _one_of("common", "own"),
    "ghost_batch": _integer(1),
    "model.init": _one_of("torch", "he"),
    "redraw": _one_of("initialiser", "bootstrap"),
    "late_stride": _FLAG,
    "conv_bias": _FLAG,
    "preactivation": _FLAG,
    "method.scale": _number(1, 6),
    "budget": _number(0, open_low=True),
    "templates": _integer(1),
    "fast_lr": _number(0),
    "decay_fast": _FLAG,
    "site": _one_of("convolutions", "residual"),
    "penalty": _one_of("all", "layers"),
    "norm_l2": _number(0),
    "batch_repetition": _integer(1),
    "val_fraction": _number(0, 1, open_high=True),
    "image_size": _integer(1),
    "train_size": _integer(1),
    "test_size": _integer(1),
    "set_seed": _integer(0),
    "noise": _number(0),
    "epochs": _integer(1),
    "keep_every": _integer(1),
    "save_minutes": _number(0),
    "batch_size": _integer(1),
    "eval_batch_size": _integer(1),
    "lr": _number(0, open_low=True),
    "momentum": _number(0, 1, open_high=True),
    "weight_decay": _number(0),
    "label_smoothing": _number(0, 1, open_high=True),
    "l1": _number(0),
    "l2": _number(0),
    "warmup_epochs": _number(0),
    "floor": _number(0, 1),
    "decay": _number(0, open_low=True),
    "augment.pad": _integer(0),
    "augment.flip": _FLAG,
    "seed": _integer(0),
    "num_workers": _integer(0),
    "temperature_scaling": _FLAG,
    "restrict_classes": _FLAG,
    "save_predictions": _FLAG,
    "skip_broken": _FLAG,
    "force": _FLAG,
    "train": _FLAG,
    "pretrained": _FLAG,
    "trainer.accelerator": _one_of("auto", "cpu", "gpu", "cuda", "mps"),
    "trainer.devices": _integer(1),
    "trainer.num_nodes": _integer(1),
    "trainer.precision": _one_of(32, "bf16-mixed", "16-mixed"),
    "trainer.gradient_clip_val": _number(0),
    "trainer.progress": _FLAG,
    "trainer.deterministic": _FLAG,
    "trainer.compile": _one_of("auto", True, False),
    "trainer.channels_last": _FLAG,
}

# What null stands for a default of.
OPTIONAL = {"ghost_batch", "image_size", "init", "num_workers", "gradient_clip_val", "keep_every", "train_size"}


def require(where: str = "", **values) -> None:
    """Check each value against the limits of its name; a name without limits passes, as does None where it is a choice.

    Raises:
        UserError: a sentence that names the key (``where`` is put before it), its value and what it can be.
    """
    for name, value in values.items():
        group = where.rstrip(".").rpartition(".")[2]
        keys = (f"{where}{name}", f"{group}.{name}", name)
        holds, wanted = next((LIMITS[key] for key in keys if key in LIMITS), (None, None))
        if holds is None or (value is None and name in OPTIONAL):
            continue
        if not holds(value):
            raise UserError(f"{where}{name} is {value!r}, but must be {wanted}.")
