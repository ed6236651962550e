"""How long a network takes to predict and to train a step; needs torch only, so any environment can import it."""

import time
from collections.abc import Callable

import torch
from torch import Tensor, nn


class Timed:
    """A network that predicts and is trained, in channels-last.

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

    @torch.inference_mode()
    def predict(self) -> float:
        """Seconds of a pass."""
        self.network.eval()
        return self._seconds(lambda: self.network(self.x))

    def train(self) -> float:
        """Seconds of a step of SGD: forward, backward and update."""
        self.network.train()
        return self._seconds(self._step)

    def _step(self) -> None:
        self.optimizer.zero_grad()
        self.loss().backward()
        self.optimizer.step()

    def _seconds(self, work: Callable[[], object]) -> float:
        self._wait()
        started = self.clock()
        work()
        self._wait()
        return self.clock() - started

    def _wait(self) -> None:
        if self.x.device.type == "cuda":
            torch.cuda.synchronize(self.x.device)


def batch(size: int, device: str) -> tuple[Tensor, Tensor]:
    """Random images (B, 3, 32, 32), channels-last, and labels (B,) of ten classes."""
    images = torch.randn(size, 3, 32, 32, device=device).contiguous(memory_format=torch.channels_last)
    return images, torch.randint(10, (size,), device=device)
