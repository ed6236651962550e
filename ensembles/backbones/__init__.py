"""Ordinary networks, (B, C, H, W) -> (B, K): torchvision's and timm's by name, by hand only what they lack."""

from ensembles.backbones.airbench import airbench
from ensembles.backbones.by_name import timm_model, torchvision_model
from ensembles.backbones.resnet import resnet18, resnet34, resnet50, wrn
from ensembles.backbones.small import mlp, small_cnn

__all__ = [
    "airbench",
    "mlp",
    "resnet18",
    "resnet34",
    "resnet50",
    "small_cnn",
    "timm_model",
    "torchvision_model",
    "wrn",
]
