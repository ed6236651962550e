"""How long networks take to train a step and to predict, side by side (Packed-Ensembles, section 5, training speed)."""

import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from itertools import product

import torch
from hydra import compose
from torch import Tensor

from ensembles import build
from ensembles.analysis.curves import curves_figure, findings
from ensembles.analysis.series import Drawing, FigureRow, Point, rows
from ensembles.cli.composing import checked, composing
from ensembles.methods import Method

Steps = Mapping[str, Callable[[], object]]  # "training" and "inference" -> what takes the time


def untrained(config: Mapping, shape: tuple[int, int, int], classes: int) -> Method:
    """Build the method of a run's config for images of a shape (C, H, W)."""
    about = {"method": config["method"], "model": config["model"], "num_classes": classes}
    return build.method(about | {"in_channels": shape[0], "image_size": shape[1]})


def steps_of(
    method: Method,
    x: Tensor,
    y: Tensor,
    images: Tensor,
    training: Callable[[], AbstractContextManager] = nullcontext,
    inference: Callable[[], AbstractContextManager] = nullcontext,
) -> Steps:
    """Make a training step on a batch as it is dealt (x, y), and a forward pass of images.

    Args:
        training, inference: make contexts, such as autocast, in which losses and predictions are computed.
    """
    optimizer = torch.optim.SGD(method.parameters(), lr=1e-3, momentum=0.9, nesterov=True, weight_decay=5e-4)

    def train() -> None:
        method.train()
        optimizer.zero_grad()
        with training():
            loss = method.loss(method(x), y)
        loss.backward()
        optimizer.step()

    @torch.inference_mode()
    def infer() -> None:
        method.eval()
        with inference():
            method(images)

    return {"training": train, "inference": infer}


def timed(networks: Mapping[Hashable, Steps], rounds: int) -> dict[tuple[Hashable, str], list[float]]:
    """Time all networks' steps in turn, so that what else the machine does falls on all alike.

    Returns:
        (network, step) -> seconds of each round.
    """
    seconds = {(name, step): [] for name, steps in networks.items() for step in steps}
    for _ in range(rounds + 1):
        for (name, step), found in seconds.items():
            found.append(_seconds(networks[name][step]))
    return {key: found[1:] for key, found in seconds.items()}  # the first round warms up


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started


SHAPE, CLASSES = (3, 32, 32), 100  # as on CIFAR-100


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
    """Draw Packed-Ensembles' times over those of the single network in as many bits against alpha; ± is over rounds.

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

    def steps(form: str, b: int, *overrides: str) -> Steps:
        with composing():
            config = checked(compose("train", ["data=cifar100", *overrides, *model]))
        method = untrained(config, SHAPE, CLASSES).to(device)
        method.ensemble.form = form
        half = partial(torch.autocast, device.type, torch.bfloat16, enabled=b == 16)
        return steps_of(method, images, labels, images, half, half)

    networks = {b: steps("loop", b, "method=deterministic") for b in bits}
    settings = list(product(forms, bits, gamma, M, alpha))
    for form, b, g, m, a in settings:
        sizes = [f"method.gamma={g}", f"method.M={m}", f"method.alpha={a}", f"method.min_channels={min_channels}"]
        networks[form, b, g, m, a] = steps(form, b, "method=packed", *sizes)
    seconds = timed(networks, rounds)
    found = []
    for step, setting in product(("training", "inference"), settings):
        form, b, g, m, a = setting
        ratios = (packed / one for packed, one in zip(seconds[setting, step], seconds[b, step], strict=True))
        found.append(Point(_panel(g, form, b), f"{m}", f"speed/{step}", float(a), tuple(ratios)))
    keys = [["speed/training"], ["speed/inference"]]
    figure = curves_figure(found, keys, "alpha", heads=("gamma", "M", "alpha"))
    return Drawing(figure, rows(found, "gamma", "M", "alpha"), findings(found, "alpha", ("gamma", "M")))


def _panel(gamma: int, form: str, bits: int) -> str:
    """Name a panel; by gamma alone where members run in a loop and in 32 bits."""
    how = [form] * (form != "loop") + [f"{bits} bits"] * (bits != 32)
    return ", ".join([f"gamma = {gamma}", *how]) if how else f"{gamma}"
