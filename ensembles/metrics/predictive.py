"""What the members' logits say together: the predictive distribution, in float64."""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ensembles.errors import UserError

CHUNK = 2**18  # float64 numbers worked on at a time: few enough to stay in cache, and to never copy ImageNet's whole


def require_finite(logits: Tensor, which: str = "The logits") -> None:
    """Refuse logits that a metric would turn into a number that looks right.

    Raises:
        UserError: NaN or an infinity among the logits, named by ``which``.
    """
    if not torch.isfinite(logits).all():
        raise UserError(
            f"{which} hold NaN or infinity, so nothing can be measured: "
            "if the training loss diverged, lower recipe.optimizer.lr, else look for broken images."
        )


def chunks(logits: Tensor) -> Iterator[Tensor]:
    """The logits (M, N, K) as pieces (M, n, K), each in float64."""
    members, _, classes = logits.shape
    for part in logits.split(max(1, CHUNK // (members * classes)), dim=1):
        yield part.double()


def log_mean(logits: Tensor, temperatures: Sequence[float] | None = None) -> Tensor:
    """Log of the members' mean softmax: (M, N, K) -> (N, K), float64.

    The log-sum-exp of the members' log-probabilities minus log M, so it is exact where a probability underflows to 0.
    With M ``temperatures``, each member's logits are divided by its own.

    Raises:
        UserError: NaN or an infinity among the logits.
    """
    require_finite(logits)
    log_members = math.log(len(logits))
    parts = []
    for part in chunks(logits):
        if temperatures is not None:
            part = part / part.new_tensor(temperatures).view(-1, 1, 1)
        parts.append(part.log_softmax(-1).logsumexp(0) - log_members)
    return torch.cat(parts).clamp_(max=0.0)  # rounding must not make a probability exceed 1
