"""How long networks take to predict and to train a step; needs torch only, so any environment can import it."""

import time
from collections.abc import Callable, Hashable, Mapping

import torch
from torch import Tensor, nn

WORKS = ("predict", "train")


def in_rounds(
    clocks: Mapping[Hashable, Callable[[str], float]], rounds: int
) -> dict[tuple[Hashable, str], list[float]]:
    """Have each clock time each of the works once a round, after a round to warm up: seconds by clock and work."""
    seconds: dict[tuple[Hashable, str], list[float]] = {(key, work): [] for key in clocks for work in WORKS}
    for round_ in range(rounds + 1):
        for (key, work), times in seconds.items():
            taken = clocks[key](work)
            times += [taken] if round_ else []
    return seconds


class Timed:
    """A network that predicts and is trained, in channels-last; called with one of `WORKS` it gives its seconds.

    Args:
        x: the batch (B, C, H, W) that it predicts.
        loss: computes the loss of a training step.
        clock: counts seconds.
    """

    def __init__(
        self, network: nn.Module, x: Tensor, loss: Callable[[], Tensor], clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self.network = network.to(x.device, memory_format=torch.channels_last)
        self.x, self.loss, self.clock = x, loss, clock
        self.optimizer = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9)

    def __call__(self, work: str) -> float:
        self.network.train(work == "train")
        self._wait()
        started = self.clock()
        getattr(self, work)()
        self._wait()
        return self.clock() - started

    @torch.inference_mode()
    def predict(self) -> None:
        """Run the network on the batch."""
        self.network(self.x)

    def train(self) -> None:
        """Run a step of SGD: forward, backward and update."""
        self.optimizer.zero_grad()
        self.loss().backward()
        self.optimizer.step()

    def _wait(self) -> None:
        if self.x.device.type == "cuda":
            torch.cuda.synchronize(self.x.device)


def batch(size: int, device: str) -> tuple[Tensor, Tensor]:
    """Random images (B, 3, 32, 32), channels-last, and labels (B,) of ten classes."""
    images = torch.randn(size, 3, 32, 32, device=device).contiguous(memory_format=torch.channels_last)
    return images, torch.randint(10, (size,), device=device)
