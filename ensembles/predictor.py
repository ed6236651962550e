"""A trained ensemble for use from Python: ``ensembles.load("runs/.../best.ckpt").predict(images)``."""

import importlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ensembles import build
from ensembles.errors import UserError
from ensembles.members import Ensemble
from ensembles.metrics.ood import criteria
from ensembles.regressor import Regressor, as_tensor
from ensembles.training.checkpoints import ABOUT, load_weights, read


@dataclass(frozen=True)
class Prediction:
    """What an ensemble says of B images.

    Attributes:
        probabilities: (B, K), the mean over the members.
        members: (M, B, K), each member's probabilities.
        entropy: (B,), of the mean, in nats.
        mutual_information: (B,), between prediction and member, in nats.
    """

    probabilities: Tensor
    members: Tensor
    entropy: Tensor
    mutual_information: Tensor


class Predictor(nn.Module):
    """An ensemble with its inputs' normalisation: images in, probabilities out.

    Attributes:
        ensemble: images normalised (B, C, H, W) -> logits (M, B, K).
        class_names: names of the K classes.
    """

    def __init__(self, ensemble: Ensemble, mean: list[float], std: list[float], class_names: list[str]) -> None:
        super().__init__()
        self.ensemble = ensemble.eval()
        self.class_names = class_names
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1))

    def forward(self, images: Tensor | np.ndarray) -> Tensor:
        """Logits (M, B, K) of images (B, C, H, W), uint8 from 0 to 255 or floats from 0 to 1.

        Raises:
            UserError: images of another shape than the network was trained on, or of another type.
        """
        images = as_tensor(images, "images")
        shape = self.ensemble.input_shape
        if tuple(images.shape[1:]) != shape:
            last = tuple(images.shape[1:]) == (*shape[1:], shape[0])
            fix = " Its channels stand last: put them first, images.transpose(0, 3, 1, 2) in numpy." if last else ""
            raise UserError(f"images are {tuple(images.shape)}, but the network takes {('B', *shape)}.{fix}")
        if images.dtype != torch.uint8 and not images.is_floating_point():
            kind = str(images.dtype).removeprefix("torch.")
            raise UserError(f"images are {kind}, but must be uint8 from 0 to 255 or floats from 0 to 1.")
        x = images.float() / 255 if images.dtype == torch.uint8 else images.to(self.mean.dtype)
        return self.ensemble((x.to(self.mean.device) - self.mean) / self.std)

    @torch.inference_mode()
    def predict(self, images: Tensor | np.ndarray, details: bool = False) -> Tensor | Prediction:
        """Mean probabilities (B, K); with ``details`` the members' and the uncertainties too, as a `Prediction`."""
        logits = self(images)
        members = logits.softmax(dim=-1)
        if not details:
            return members.mean(dim=0)
        unsure = criteria(logits)
        information = unsure.get("mutual_information", torch.zeros_like(unsure["entropy"]))
        return Prediction(members.mean(dim=0), members, unsure["entropy"], information)

    def member(self, m: int) -> nn.Module:
        """Member m as an ordinary network on normalised images, (B, C, H, W) -> (B, K)."""
        return self.ensemble.member(m)


def load(path: str | Path, trust: Sequence[str] = ()) -> Predictor | Regressor:
    """The trained ensemble of a checkpoint, on the CPU; of a regression a `Regressor`.

    Args:
        trust: packages besides this one whose networks the checkpoint may name, ``["mypackage"]`` for your own.

    Raises:
        UserError: a checkpoint that is missing, damaged, carries code, or names what is not trusted.
    """
    about = read(path)[ABOUT]
    for target in _targets([about["method"], about["model"], about.get("likelihood")]):
        _require_trusted(target, trust, path)
    if "pretrained" in about["model"]:
        about["model"]["pretrained"] = False  # all weights are in the checkpoint
    method = build.method(about)
    load_weights(method, path)
    if "likelihood" in about:
        return Regressor(method.ensemble, method.likelihood, about["mean"], about["std"])
    return Predictor(method.ensemble, about["mean"], about["std"], about["class_names"])


def _targets(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        yield from ([str(node["_target_"])] if "_target_" in node else [])
        node = list(node.values())
    if isinstance(node, list):
        for child in node:
            yield from _targets(child)


def _require_trusted(target: str, trust: Sequence[str], path: str | Path) -> None:
    """A checkpoint names what to call to build its network: only what these packages define themselves is called."""
    if target.partition(".")[0] in trust:
        return
    place = re.fullmatch(r"(ensembles\.(?:methods|backbones|likelihoods))\.(\w+)", target)
    found = getattr(importlib.import_module(place[1]), place[2], None) if place else None
    if not getattr(found, "__module__", "").startswith("ensembles."):
        raise UserError(
            f"{path} wants {target} to be called, which is not part of ensembles: "
            f"if that is your own code, load(..., trust=[{target.partition('.')[0]!r}]), or --trust "
            f"{target.partition('.')[0]} of a script."
        )
