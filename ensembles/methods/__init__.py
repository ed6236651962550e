"""A LightningModule a method: where its members' weights come from, and which examples they see.

The modules load on first use, so that a command line that names one answers without torch.
"""

from importlib import import_module

_HOMES = {
    "MIMO": "mimo",
    "BatchEnsemble": "batch_ensemble",
    "DeepEnsemble": "deep_ensemble",
    "Deterministic": "deterministic",
    "Dropout": "dropout",
    "Masksembles": "masksembles",
    "Method": "base",
    "Mixture": "mixture",
    "NaiveMultihead": "naive_multihead",
    "Packed": "packed",
    "TreeNet": "treenet",
}
__all__ = list(_HOMES)  # what a checkpoint may name, but for Method


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
