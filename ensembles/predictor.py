"""A trained ensemble for use from Python: ``ensembles.load("runs/...").predict("photos")``."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from ensembles.checkpoints import ABOUT, put_weights, read_checkpoint
from ensembles.constructors import Limited, construct, require_constructors, without_pretrained
from ensembles.data.files.decode import cover, open_rgb, rgb
from ensembles.data.files.listing import image_files
from ensembles.data.imagenet_views import centre
from ensembles.data.sources import pixels_of
from ensembles.errors import UserError
from ensembles.likelihoods import Regression
from ensembles.methods import Method
from ensembles.methods.base import Ensemble
from ensembles.metrics.ood import criteria
from ensembles.metrics.regression import mixture_sd
from ensembles.runs import network_file
from ensembles.untrusted import refusal


@dataclass(frozen=True)
class Forecast:
    """What an ensemble says of B points.

    Attributes:
        mean: (B,), over the members.
        sd: (B,), of the mixture of the members' predictions; without a density the members' spread alone.
        members: (M, B), the members' means.
        member_sd: (M, B), the members' own standard deviations; None without a density.
    """

    mean: Tensor
    sd: Tensor
    members: Tensor
    member_sd: Tensor | None


class _WithNormalisation(nn.Module):
    """An ensemble in evaluation, and the mean and the deviation by which its inputs' channels are normalised."""

    def __init__(self, ensemble: Ensemble, mean: list[float], std: list[float]) -> None:
        super().__init__()
        self.ensemble = ensemble.eval()
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1))

    def member(self, m: int) -> nn.Module:
        """Take member m as an ordinary network on normalised inputs, (B, C, H, W) -> (B, K)."""
        return self.ensemble.member(m)


class Regressor(_WithNormalisation):
    """An ensemble with its likelihood and its inputs' normalisation: points in, numbers out.

    Attributes:
        ensemble: points (B, D, 1, 1), normalised -> outputs (M, B, K).
        likelihood: how outputs are a distribution over numbers.
    """

    def __init__(self, ensemble: Ensemble, likelihood: Regression, mean: list[float], std: list[float]) -> None:
        super().__init__(ensemble, mean, std)
        self.likelihood = likelihood

    def forward(self, points: Tensor | np.ndarray) -> Tensor:
        """Compute outputs (M, B, K) of points (B, D), or (B,) where there is one feature.

        Raises:
            UserError: points with another number of features than the network was trained on.
        """
        x = as_tensor(points, "points").float()
        x = x[:, None] if x.dim() == 1 else x
        features = len(self.mean)
        if x.shape[1:] != (features,):
            raise UserError(f"points are {tuple(x.shape)}, but the network takes ('B', {features}).")
        return self.ensemble((x[..., None, None].to(self.mean.device) - self.mean) / self.std)

    @torch.inference_mode()
    def predict(self, points: Tensor | np.ndarray, details: bool = False) -> Tensor | Forecast:
        """Predict the members' mean (B,); with ``details`` the members and the uncertainty, too, as a `Forecast`."""
        means, variances = self.likelihood.moments(self(points))
        if not details:
            return means.mean(0)
        own = None if variances is None else variances.sqrt()
        return Forecast(means.mean(0), mixture_sd(means, variances), means, own)


def as_tensor(values: Tensor | np.ndarray, what: str) -> Tensor:
    """Take a tensor or a numpy array as a tensor.

    Args:
        what: the values' name, for the error.

    Raises:
        UserError: something else, or an array of what is no number.
    """
    if isinstance(values, Tensor):
        return values
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiub":
        kind = f"an array of {values.dtype}" if isinstance(values, np.ndarray) else f"a {type(values).__name__}"
        raise UserError(f"{what} are {kind}, but must be a tensor or a numpy array of numbers.")
    return torch.from_numpy(
        np.array(values, values.dtype.newbyteorder("="))
    )  # torch takes neither views nor big-endians


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


Images: TypeAlias = Tensor | np.ndarray | Image.Image | str | Path | Sequence[Image.Image | str | Path]
BATCH = 128  # images of files that are in memory at a time


class Predictor(_WithNormalisation):
    """An ensemble with its inputs' normalisation: images in, probabilities out.

    Attributes:
        ensemble: images normalised (B, C, H, W) -> logits (M, B, K).
        class_names: names of the K classes.
        view: from an RGB image of PIL's of any size to what the network is shown of it; None scales it until it covers
            the network's square, and takes its centre.
    """

    def __init__(
        self,
        ensemble: Ensemble,
        mean: list[float],
        std: list[float],
        class_names: list[str],
        view: Callable[[Image.Image], Image.Image] | None = None,
    ) -> None:
        super().__init__(ensemble, mean, std)
        self.class_names = class_names
        self.view = view or partial(cover, size=ensemble.input_shape[-1], channels=ensemble.input_shape[0])

    def forward(self, images: Tensor | np.ndarray) -> Tensor:
        """Compute logits (M, B, K) of images (B, C, H, W), uint8 from 0 to 255 or floats from 0 to 1.

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
    def predict(self, images: Images, details: bool = False) -> Tensor | Prediction:
        """Predict mean probabilities (B, K); with ``details`` the members' and uncertainties, too, as a `Prediction`.

        Args:
            images: (B, C, H, W), a tensor or array as `forward` takes it; or an image of PIL's, the path of a file or
                of a folder of files (`image_paths` has their order), or a list of these. Files and PIL's images are of
                any size, and are seen through ``view``.

        Raises:
            UserError: what `forward` raises, or a path that is no image.
        """
        if isinstance(images, Tensor | np.ndarray):
            return self._predicted(images, details)
        parts = [self._predicted(batch, details) for batch in self._seen(images)]
        if not details:
            return torch.cat(parts)
        joined = {field.name: [getattr(part, field.name) for part in parts] for field in fields(Prediction)}
        return Prediction(**{name: torch.cat(some, dim=int(name == "members")) for name, some in joined.items()})

    def _seen(self, images: Images) -> Iterator[Tensor]:
        """Show images of PIL's and files as the network takes them, uint8 (b, C, H, W), batch by batch."""
        if self.ensemble.input_shape[0] not in (1, 3):
            raise UserError(f"The network takes {self.ensemble.input_shape[0]} channels: give a tensor of images.")
        found = image_paths(images)
        with ThreadPoolExecutor() as threads:
            for start in range(0, len(found), BATCH):
                yield torch.stack(list(threads.map(self._shown, found[start : start + BATCH])))

    def _shown(self, image: Image.Image | Path) -> Tensor:
        return pixels_of(self.view(open_rgb(image) if isinstance(image, Path) else rgb(image)))

    def _predicted(self, images: Tensor | np.ndarray, details: bool) -> Tensor | Prediction:
        logits = self(images)
        members = logits.softmax(dim=-1)
        if not details:
            return members.mean(dim=0)
        scores = criteria(logits)
        information = scores.get("mutual_information", torch.zeros_like(scores["entropy"]))
        return Prediction(members.mean(dim=0), members, scores["entropy"], information)


def image_paths(images: Images) -> list[Image.Image | Path]:
    """List images: those of PIL's as they are, and files; of folders all images below them, in the order of names.

    Raises:
        UserError: a path of nothing, a folder without images, or something else.
    """
    if isinstance(images, Image.Image):
        return [images]
    if isinstance(images, str | Path):
        path = Path(images).expanduser()
        if path.is_dir():
            found: list[Image.Image | Path] = [Path(file) for file in image_files(path)]
            if not found:
                raise UserError(f"{path} holds no image: give a folder of images.")
            return found
        if not path.exists():
            raise UserError(f"There is no {path}: give an image file or a folder of them.")
        return [path]
    single = (Image.Image, str, Path)
    if not isinstance(images, Sequence) or not images or not all(isinstance(one, single) for one in images):
        raise UserError(
            f"images are a {type(images).__name__}, but must be a tensor or a numpy array of numbers, an image of "
            "PIL's, a path, or a list of these two with an entry or more."
        )
    return [found for one in images for found in image_paths(one)]


def load(path: str | Path, trust: Sequence[str] = ()) -> Predictor | Regressor:
    """Load the trained ensemble of a run's folder or a checkpoint, on the CPU; of a regression a `Regressor`.

    Args:
        path: a checkpoint, or the folder of a run or of what `ensembles.pull` has brought.
        trust: packages besides this one whose networks the checkpoint may name, ``["mypackage"]`` for your own.

    Raises:
        UserError: a checkpoint that is missing, damaged, carries code, or names what is not trusted.
    """
    path = network_file(path)
    checkpoint = read_checkpoint(path)
    about = without_pretrained(checkpoint[ABOUT])
    method = _method(about, trust, checkpoint, path)
    put_weights(method, checkpoint, path)
    if "likelihood" in about:
        return Regressor(method.ensemble, method.likelihood, about["mean"], about["std"])
    view = centre(about["image_size"], **about["view"]) if "view" in about else None
    return Predictor(method.ensemble, about["mean"], about["std"], about["class_names"], view)


def _method(about: dict, trust: Sequence[str], checkpoint: dict, path: str | Path) -> Method:
    """Build the method that a file describes by known constructors alone and within the memory that it needs."""
    size = {key: about[key] for key in ("num_classes", "in_channels", "image_size")}
    backbone = partial(construct, about["model"], "backbones", trust, **size)
    shape = (about["in_channels"], about["image_size"], about["image_size"])
    try:
        require_constructors(about, trust)
        with Limited(checkpoint["state_dict"]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            method = construct(about["method"], "methods", trust, backbone=backbone, input_shape=shape)
            if "likelihood" in about:
                method.likelihood = construct(about["likelihood"], "likelihoods", trust)
    except Exception as error:  # a constructor may raise anything on settings that no training had
        raise refusal(path, error, "use one from ensembles train") from error
    if not isinstance(method, Method) or ("likelihood" in about) != isinstance(method.likelihood, Regression):
        raise UserError(f"{path} describes no method with its likelihood: use one from ensembles train.")
    return method
