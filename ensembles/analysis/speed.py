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
    forms: Sequence[str] = ("loop",),
    bits: Sequence[int] = (32,),
) -> Drawing:
    """A step's time over that of the single network in as many bits, in training and in inference, against alpha.

    All networks take their turn in each round, so that what else the machine does falls on all alike; the spread is
    over rounds.

    Args:
        lines: none, as nothing is trained.
        model: overrides of train.py that choose the network.
        alpha, M, gamma, min_channels: of the ensembles.
        forms: in which members run, ``loop`` and ``grouped``, the paper's one network of grouped convolutions.
        bits: of the numbers in most operations, 32 and 16 (bfloat16).
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    images = torch.randn(batch_size, *SHAPE, device=device)
    labels = torch.randint(CLASSES, (batch_size,), device=device)
    settings = list(product(forms, bits, gamma, M, alpha))
    single = {b: _times(["method=deterministic", *model], images, labels, b) for b in bits}
    timed = []
    for form, b, g, m, a in settings:
        sizes = [f"method.gamma={g}", f"method.M={m}", f"method.alpha={a}", f"method.min_channels={min_channels}"]
        timed.append(_times(["method=packed", *sizes, *model], images, labels, b, form))
    taken = []
    for _ in range(rounds + 1):  # the first warms up
        alone = {b: times() for b, times in single.items()}
        taken.append((alone, [times() for times in timed]))
    found = [
        Point(
            _panel(g, form, b), f"{m}", key, float(a), tuple(packed[i][k] / alone[b][k] for alone, packed in taken[1:])
        )
        for k, key in enumerate(KEYS)
        for i, (form, b, g, m, a) in enumerate(settings)
    ]
    figure = curves_figure(found, [[key] for key in KEYS], "alpha", heads=("gamma", "M", "alpha"))
    return Drawing(figure, rows(found, "gamma", "M", "alpha"), findings(found, "alpha", ("gamma", "M")))


def _panel(gamma: int, form: str, bits: int) -> str:
    """Members in a loop and in 32 bits are those whose panel is called by gamma alone."""
    how = [form] * (form != "loop") + [f"{bits} bits"] * (bits != 32)
    return ", ".join([f"gamma = {gamma}", *how]) if how else f"{gamma}"


def _times(
    arguments: list[str], images: torch.Tensor, labels: torch.Tensor, bits: int, form: str = "loop"
) -> Callable[[], tuple[float, float]]:
    """What takes the seconds of a training step and of a forward pass of a configuration's ensemble."""
    method = _method(arguments).to(images.device)
    method.ensemble.form = form
    half = torch.autocast(images.device.type, torch.bfloat16, enabled=bits == 16)
    optimizer = torch.optim.SGD(method.parameters(), lr=1e-3, momentum=0.9, nesterov=True, weight_decay=5e-4)

    def train() -> None:
        with half:
            loss = method.loss(method(images), labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    @torch.inference_mode()
    def infer() -> None:
        with half:
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
