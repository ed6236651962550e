"""An ensemble's accuracy and calibration at a single network's price.

``load`` reads a trained checkpoint, ``results`` finished runs into a table; ``push``, ``pull`` and ``verify`` share
them; ``packed``, ``mimo``, ``mixture`` and the other methods turn any network into an ensemble module. Names are
imported on first use, because torch takes seconds to import.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what type checkers and editors read
    from ensembles.methods.batch_ensemble import batch_ensemble
    from ensembles.methods.deep_ensemble import deep_ensemble
    from ensembles.methods.dropout import dropout
    from ensembles.methods.masksembles import masksembles
    from ensembles.methods.mimo import mimo
    from ensembles.methods.mixture import mixture
    from ensembles.methods.naive_multihead import naive_multihead
    from ensembles.methods.packed import packed
    from ensembles.methods.treenet import treenet
    from ensembles.predictor import Predictor, Regressor, load
    from ensembles.reports.runs_table import results
    from ensembles.zoo.sharing import pull, push
    from ensembles.zoo.verifying import verify

__version__ = "0.1.0"

__all__ = [
    "Predictor",
    "Regressor",
    "batch_ensemble",
    "deep_ensemble",
    "dropout",
    "load",
    "masksembles",
    "mimo",
    "mixture",
    "naive_multihead",
    "packed",
    "pull",
    "push",
    "results",
    "treenet",
    "verify",
]

_HOME = {
    **{name: f"ensembles.methods.{name}" for name in __all__},
    **dict.fromkeys(("load", "Predictor", "Regressor"), "ensembles.predictor"),
    **dict.fromkeys(("pull", "push"), "ensembles.zoo.sharing"),
    "results": "ensembles.reports.runs_table",
    "verify": "ensembles.zoo.verifying",
}


if not TYPE_CHECKING:  # there a name that is not listed is an error

    def __getattr__(name: str) -> object:
        if name not in _HOME:
            raise AttributeError(f"module 'ensembles' has no attribute {name!r}")
        return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
