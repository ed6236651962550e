"""The old place of what is in `ensembles.methods` now: its names are still importable, with a warning."""

import warnings
from importlib import import_module

from ensembles import _HOME

_CLASSES = {
    "MIMO": "mimo.MIMONetwork",
    "BatchEnsemble": "batch_ensemble.BatchEnsembleNetwork",
    "Dropout": "dropout.DropoutNetwork",
    "Ensemble": "base.Ensemble",
    "Masksembles": "masksembles.MasksemblesNetwork",
    "Mixture": "mixture.MixtureNetwork",
    "NaiveMultihead": "naive_multihead.NaiveMultiheadNetwork",
    "Separate": "base.Separate",
    "TreeNet": "treenet.TreeNetwork",
}
_MOVED = _CLASSES | {name: f"{name}.{name}" for name, home in _HOME.items() if home == f"ensembles.methods.{name}"}


def __getattr__(name: str):
    if name not in _MOVED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home, _, new = _MOVED[name].rpartition(".")
    warnings.warn(f"ensembles.members.{name} is ensembles.methods.{home}.{new} now.", DeprecationWarning, stacklevel=2)
    return getattr(import_module(f"ensembles.methods.{home}"), new)
