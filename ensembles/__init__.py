"""Ensembles at about a single network's price.

``load`` reads a trained checkpoint, ``results`` finished runs into a table; ``push``, ``pull`` and ``verify`` share
them; ``packed``, ``mimo``, ``mixture`` and the other methods turn any network into an ensemble module. Names are
imported on first use, because torch takes seconds to import.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what type checkers and editors read
    from ensembles.methods.batch_ensemble import batch_ensemble as batch_ensemble
    from ensembles.methods.deep_ensemble import deep_ensemble as deep_ensemble
    from ensembles.methods.dropout import dropout as dropout
    from ensembles.methods.masksembles import masksembles as masksembles
    from ensembles.methods.mimo import mimo as mimo
    from ensembles.methods.mixture import mixture as mixture
    from ensembles.methods.naive_multihead import naive_multihead as naive_multihead
    from ensembles.methods.packed import packed as packed
    from ensembles.methods.treenet import treenet as treenet
    from ensembles.predictor import Predictor as Predictor
    from ensembles.predictor import Regressor as Regressor
    from ensembles.predictor import load as load
    from ensembles.reports.runs_table import results as results
    from ensembles.zoo.sharing import pull as pull
    from ensembles.zoo.sharing import push as push
    from ensembles.zoo.verifying import verify as verify

__version__ = "0.1.0"

_METHODS = (
    *("batch_ensemble", "deep_ensemble", "dropout", "masksembles", "mimo"),
    *("mixture", "naive_multihead", "packed", "treenet"),
)
_HOME = {
    **{name: f"ensembles.methods.{name}" for name in _METHODS},
    **dict.fromkeys(("load", "Predictor", "Regressor"), "ensembles.predictor"),
    **dict.fromkeys(("pull", "push"), "ensembles.zoo.sharing"),
    "results": "ensembles.reports.runs_table",
    "verify": "ensembles.zoo.verifying",
}
__all__ = list(_HOME)


if not TYPE_CHECKING:  # there a name that is not listed is an error

    def __getattr__(name: str) -> object:
        if name not in _HOME:
            raise AttributeError(f"module 'ensembles' has no attribute {name!r}")
        return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
