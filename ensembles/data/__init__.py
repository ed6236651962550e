"""Data sets: a LightningDataModule for each family, and what they share.

The modules load on first use, so that ``ensembles.data.files.fingerprint`` answers without torch.
"""

from importlib import import_module

_HOMES = {
    "CIFAR10": "cifar",
    "CIFAR100": "cifar",
    "Datasets": "datasets",
    "Diabetes": "uci",
    "Digits": "digits",
    "ImageDataModule": "image_datamodule",
    "ImageFolder": "folder",
    "ImageNet": "imagenet",
    "ImageTable": "folder",
    "LabelledSet": "labelled_set",
    "SyntheticRegression": "synthetic_regression",
    "UCI": "uci",
    "from_datasets": "datasets",
}
__all__ = list(_HOMES)


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
