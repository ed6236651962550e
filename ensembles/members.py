"""The old place of the ensembles' modules, which are in `ensembles.methods` now: importable, with a warning."""

import warnings
from importlib import import_module

_MOVED = {
    "MIMO": "mimo.MIMONetwork",
    "BatchEnsemble": "batch_ensemble.BatchEnsembleNetwork",
    "Dropout": "dropout.DropoutNetwork",
    "Ensemble": "base.Ensemble",
    "Masksembles": "masksembles.MasksemblesNetwork",
    "Mixture": "mixture.MixtureNetwork",
    "NaiveMultihead": "naive_multihead.NaiveMultiheadNetwork",
    "Separate": "base.Separate",
    "TreeNet": "treenet.TreeNetwork",
    "batch_ensemble": "batch_ensemble.batch_ensemble",
    "deep_ensemble": "deep_ensemble.deep_ensemble",
    "dropout": "dropout.dropout",
    "masksembles": "masksembles.masksembles",
    "mimo": "mimo.mimo",
    "mixture": "mixture.mixture",
    "naive_multihead": "naive_multihead.naive_multihead",
    "packed": "packed.packed",
    "treenet": "treenet.treenet",
}


def __getattr__(name: str):
    if name not in _MOVED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home, _, new = _MOVED[name].rpartition(".")
    warnings.warn(f"ensembles.members.{name} is ensembles.methods.{home}.{new} now.", DeprecationWarning, stacklevel=2)
    return getattr(import_module(f"ensembles.methods.{home}"), new)
