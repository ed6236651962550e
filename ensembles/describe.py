"""What a configuration is, told without training, data or memory: its network is built on the meta device."""

import re
import warnings
from dataclasses import dataclass, field

import torch
from omegaconf import OmegaConf
from pytorch_lightning import LightningDataModule
from torch import nn

from ensembles import build, cost
from ensembles.methods.base import Ensemble


@dataclass
class Stage:
    """Parameters in one stage of the network, or in one kind of what a method stores beside it.

    Attributes:
        shared: stored once for all members.
        own: that each member has of its own.
    """

    name: str
    shared: int = 0
    own: int = 0


@dataclass(frozen=True)
class Description:
    """A configuration before training.

    Attributes:
        M: number of members.
        input_shape, num_classes: of the data.
        costs: those keys ``cost/*`` of results.json that need no clock, and ``cost/member_params``, of one member as a
            network on its own.
        stages: in the network's order.
        notes: what building it warned of.
    """

    M: int
    input_shape: tuple[int, ...]
    num_classes: int
    costs: dict[str, float]
    stages: list[Stage]
    notes: list[str] = field(default_factory=list)


def describe(config: dict) -> Description:
    """Describe a composed and checked configuration.

    Raises:
        UserError: settings that cannot work.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        data, ensemble, backbone = networks(config)
    costs = cost.counts(ensemble, backbone) | {"cost/member_params": cost.parameters(ensemble.member(0))}
    return Description(
        M=ensemble.M,
        input_shape=ensemble.input_shape,
        num_classes=data.num_classes,
        costs=costs,
        stages=stages(ensemble),
        notes=list(dict.fromkeys(str(warning.message) for warning in caught)),
    )


def networks(config: dict) -> tuple[LightningDataModule, Ensemble, nn.Module]:
    """The data of a composed and checked configuration, unread, and its ensemble and backbone on the meta device.

    Raises:
        UserError: settings that cannot work.
    """
    config = OmegaConf.create(config)
    data = build.call(config.data, batch_size=config.recipe.batch_size, seed=config.seed)
    about = build.description(config, data)
    if "pretrained" in about["model"]:
        about["model"]["pretrained"] = False  # the same network, nothing to download
    with torch.device("meta"):
        return data, build.method(about).ensemble, build.backbone(about)()


def stages(ensemble: Ensemble) -> list[Stage]:
    """Where an ensemble's parameters are, by the first part of their names in the network."""
    own = {id(parameter) for parameter in ensemble.own_parameters()}
    found: dict[str, Stage] = {}
    for name, parameter in ensemble.named_parameters():
        top = re.sub(r"^(network|networks\.\d+)\.", "", name).partition(".")[0]
        stage = found.setdefault(top, Stage(top))
        if id(parameter) in own:
            stage.own += parameter.numel()
        else:
            stage.shared += parameter.numel()
    for stage in found.values():
        stage.own //= ensemble.M
    return list(found.values())
