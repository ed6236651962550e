"""torch-uncertainty's ensembles of a ResNet-18, timed on request; runs in an environment of its own.

    python members_reference.py BATCH_SIZE THREADS DEVICE

Prints the names of its networks on a line, then answers each line ``<name> predict|train`` with seconds.
"""

import importlib
import sys

import torch
import torch.nn.functional as F
from members_timing import Timed, batch

FAMILIES = {
    "deterministic": ("std", "resnet", {}),
    "batch_ensemble": ("batched", "batched_resnet", {"num_estimators": 4, "repeat_strategy": "legacy"}),
    "masksembles": ("masked", "masked_resnet", {"num_estimators": 4, "scale": 2.0, "repeat_strategy": "legacy"}),
    "packed": ("packed", "packed_resnet", {"num_estimators": 4, "alpha": 2, "gamma": 1}),
}


def main(batch_size: str, threads: str, device: str) -> None:
    torch.set_num_threads(int(threads))
    timed = {name: build(*family, int(batch_size), device) for name, family in FAMILIES.items()}
    print(*timed, flush=True)
    for line in sys.stdin:
        name, work = line.split()
        print(timed[name](work), flush=True)


def build(module: str, function: str, settings: dict, batch_size: int, device: str) -> Timed:
    family = importlib.import_module(f"torch_uncertainty.models.classification.resnet.{module}")
    network = getattr(family, function)(
        in_channels=3, num_classes=10, arch=18, conv_bias=False, style="cifar", **settings
    )
    x, y = batch(batch_size, device)

    def loss():
        logits = network(x)  # (M B, K): each member sees the batch
        return F.cross_entropy(logits, y.repeat(len(logits) // len(y)))

    return Timed(network, x, loss)


if __name__ == "__main__":
    main(*sys.argv[1:])
