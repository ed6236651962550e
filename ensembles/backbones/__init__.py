"""Ordinary networks, (B, C, H, W) -> (B, K): torchvision's and timm's by name, by hand only what they lack."""

from ensembles.backbones.airbench import airbench
from ensembles.backbones.fit import check
from ensembles.backbones.resnet import resnet18, resnet34, resnet50
from ensembles.backbones.small import mlp, small_cnn
from ensembles.backbones.timm_models import timm_model
from ensembles.backbones.torchvision_models import torchvision_model
from ensembles.backbones.wide_resnet import wrn

__all__ = [
    "airbench",
    "check",
    "mlp",
    "resnet18",
    "resnet34",
    "resnet50",
    "small_cnn",
    "timm_model",
    "torchvision_model",
    "wrn",
]
