"""Times of Packed-Ensembles beside the single network's (Packed-Ensembles, section 5, training speed)."""

import time
from collections.abc import Callable, Sequence
from itertools import product

import torch
from hydra import compose

from ensembles import build
from ensembles.analysis.curves import curves_figure, findings
from ensembles.analysis.series import Drawing, FigureRow, Point, rows
from ensembles.cli.composing import checked, composing
from ensembles.methods import Method

SHAPE, CLASSES = (3, 32, 32), 100  # as on CIFAR-100
KEYS = ("speed/training", "speed/inference")


def speed(
    lines: Sequence[FigureRow],
    model: Sequence[str],
    alpha: Sequence[float],
    M: Sequence[int],
    gamma: Sequence[int],
    min_channels: int = 64,
    batch_size: int = 128,
    rounds: int = 5,
) -> Drawing:
    """A step's time over that of the single network, in training and in inference, against alpha.

    All networks take their turn in each round, so that what else the machine does falls on all alike; the spread is
    over rounds.

    Args:
        lines: none, as nothing is trained.
        model: overrides of train.py that choose the network.
        alpha, M, gamma, min_channels: of the ensembles.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    images = torch.randn(batch_size, *SHAPE, device=device)
    labels = torch.randint(CLASSES, (batch_size,), device=device)
    settings = list(product(gamma, M, alpha))
    grouped = ["method=packed", f"method.min_channels={min_channels}"]
    packed = [[*grouped, f"method.gamma={g}", f"method.M={m}", f"method.alpha={a}"] for g, m, a in settings]
    single = _times(["method=deterministic", *model], images, labels)
    timed = [_times([*setting, *model], images, labels) for setting in packed]
    taken = [(single(), [times() for times in timed]) for _ in range(rounds + 1)][1:]  # the first warms up
    found = [
        Point(f"{g}", f"{m}", key, float(a), tuple(packed[i][k] / alone[k] for alone, packed in taken))
        for k, key in enumerate(KEYS)
        for i, (g, m, a) in enumerate(settings)
    ]
    figure = curves_figure(found, [[key] for key in KEYS], "alpha", heads=("gamma", "M", "alpha"))
    return Drawing(figure, rows(found, "gamma", "M", "alpha"), findings(found, "alpha", ("gamma", "M")))


def _times(arguments: list[str], images: torch.Tensor, labels: torch.Tensor) -> Callable[[], tuple[float, float]]:
    """What takes the seconds of a training step and of a forward pass of a configuration's ensemble."""
    method = _method(arguments).to(images.device)
    optimizer = torch.optim.SGD(method.parameters(), lr=1e-3, momentum=0.9, nesterov=True, weight_decay=5e-4)

    def train() -> None:
        method.loss(method(images), labels).backward()
        optimizer.step()
        optimizer.zero_grad()

    @torch.inference_mode()
    def infer() -> None:
        method(images)

    def both() -> tuple[float, float]:
        method.train()
        training = _seconds(train)
        method.eval()
        return training, _seconds(infer)

    return both


def _method(arguments: list[str]) -> Method:
    with composing():
        config = checked(compose("train", ["data=cifar100", *arguments]))
    about = {key: config[key] for key in ("method", "model")}
    return build.method({**about, "num_classes": CLASSES, "in_channels": SHAPE[0], "image_size": SHAPE[1]})


def _seconds(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started
