"""Stored numbers -> M networks' weights: ensembles as plain modules, usable without Lightning."""

from ensembles.members.deep import deep_ensemble
from ensembles.members.ensemble import Ensemble
from ensembles.members.mimo import MIMO, mimo
from ensembles.members.packed import packed
from ensembles.members.separate import Separate

__all__ = ["MIMO", "Ensemble", "Separate", "deep_ensemble", "mimo", "packed"]
