"""A LightningModule a method: where its members' weights come from, and which examples they see."""

from ensembles.methods.base import Method
from ensembles.methods.batch_ensemble import BatchEnsemble
from ensembles.methods.deep_ensemble import DeepEnsemble
from ensembles.methods.deterministic import Deterministic
from ensembles.methods.dropout import Dropout
from ensembles.methods.masksembles import Masksembles
from ensembles.methods.mimo import MIMO
from ensembles.methods.mixture import Mixture
from ensembles.methods.naive_multihead import NaiveMultihead
from ensembles.methods.packed import Packed
from ensembles.methods.treenet import TreeNet

__all__ = [
    "MIMO",
    "BatchEnsemble",
    "DeepEnsemble",
    "Deterministic",
    "Dropout",
    "Masksembles",
    "Method",
    "Mixture",
    "NaiveMultihead",
    "Packed",
    "TreeNet",
]
