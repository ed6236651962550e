"""Stored numbers -> M networks' weights: ensembles as plain modules, usable without Lightning."""

from ensembles.members.batch_ensemble import BatchEnsemble, batch_ensemble
from ensembles.members.deep import deep_ensemble
from ensembles.members.dropout import Dropout, dropout
from ensembles.members.ensemble import Ensemble
from ensembles.members.masksembles import Masksembles, masksembles
from ensembles.members.mimo import MIMO, mimo
from ensembles.members.mixture import Mixture, mixture
from ensembles.members.naive_multihead import NaiveMultihead, naive_multihead
from ensembles.members.packed import packed
from ensembles.members.separate import Separate
from ensembles.members.treenet import TreeNet, treenet

__all__ = [
    "MIMO",
    "BatchEnsemble",
    "Dropout",
    "Ensemble",
    "Masksembles",
    "Mixture",
    "NaiveMultihead",
    "Separate",
    "TreeNet",
    "batch_ensemble",
    "deep_ensemble",
    "dropout",
    "masksembles",
    "mimo",
    "mixture",
    "naive_multihead",
    "packed",
    "treenet",
]
