"""What a network's outputs say of its target: of a class, or of a number."""

from ensembles.likelihoods.base import Likelihood
from ensembles.likelihoods.categorical import Categorical
from ensembles.likelihoods.gaussian import Gaussian
from ensembles.likelihoods.squared_error import SquaredError

__all__ = ["Categorical", "Gaussian", "Likelihood", "SquaredError"]
