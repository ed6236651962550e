"""A LightningModule a method: where its members' weights come from, and which examples they see."""

from ensembles.methods.base import Method
from ensembles.methods.deep_ensemble import DeepEnsemble
from ensembles.methods.deterministic import Deterministic
from ensembles.methods.mimo import MIMO
from ensembles.methods.packed import Packed

__all__ = ["MIMO", "DeepEnsemble", "Deterministic", "Method", "Packed"]
