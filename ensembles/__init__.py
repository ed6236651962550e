"""An ensemble's accuracy and calibration at a single network's price.

``load`` reads a trained checkpoint, ``results`` finished runs into a table; ``packed``, ``mimo``, ``mixture`` and the
other methods turn any network into an ensemble module. Names are imported on first use, because torch takes seconds to
import.
"""

from importlib import import_module

_HOME = {
    "load": "ensembles.predictor",
    "Predictor": "ensembles.predictor",
    "Regressor": "ensembles.predictor",
    "batch_ensemble": "ensembles.methods.batch_ensemble",
    "deep_ensemble": "ensembles.methods.deep_ensemble",
    "dropout": "ensembles.methods.dropout",
    "masksembles": "ensembles.methods.masksembles",
    "mimo": "ensembles.methods.mimo",
    "mixture": "ensembles.methods.mixture",
    "naive_multihead": "ensembles.methods.naive_multihead",
    "packed": "ensembles.methods.packed",
    "results": "ensembles.reports.runs_table",
    "treenet": "ensembles.methods.treenet",
}

__all__ = list(_HOME)


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module 'ensembles' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
