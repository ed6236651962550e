"""Any classifier of torchvision or timm, by its name."""

import math
from collections.abc import Collection
from difflib import get_close_matches
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torchvision import models

from ensembles.backbones.dimensions import ends
from ensembles.backbones.fit import fit, note_pretrained
from ensembles.backbones.trace import MISFITS
from ensembles.errors import UserError, reason
from ensembles.limits import settings_of


def require_known(library: str, name: str, names: Collection[str]) -> None:
    """Raise a UserError with the near matches unless the library has a model of that name."""
    if name not in names:
        near = get_close_matches(name, names)
        hint = f"did you mean {' or '.join(near)}?" if near else "see its list of models."
        raise UserError(f"model.name={name} is no classifier of {library}: {hint}")


def require_trained_numbers(pretrained: bool | str, width: float = 1, init: str | None = None, **_) -> None:
    """Raise a UserError where nothing would be left of pretrained weights."""
    if pretrained and width != 1:
        raise UserError("model.pretrained needs the trained width: set model.width=1 or model.pretrained=false.")
    if pretrained and init is not None:
        raise UserError("model.init draws anew what model.pretrained loads: set one of them to null or false.")


@settings_of(fit)
def torchvision_model(
    name: str,
    num_classes: int,
    in_channels: int = 3,
    image_size: int = 32,
    pretrained: bool = False,
    kwargs: dict[str, Any] | None = None,
    **settings,
) -> nn.Module:
    """Build torchvision's model ``name``, (B, in_channels, image_size, image_size) -> (B, num_classes), one head only.

    Args:
        pretrained: start from torchvision's default ImageNet weights. Unless there are 1000 classes, the last layer
            starts anew; channels other than three repeat the first layer's weights, a single one sums them.
        kwargs: more arguments for torchvision's constructor.
        settings: as `fit` takes them.

    Raises:
        UserError: an unknown name or argument, no weights to be had, images or a width that do not suit the model.
    """
    require_known("torchvision", name, models.list_models(module=models))
    require_trained_numbers(pretrained, **settings)
    if isinstance(pretrained, str):
        raise UserError(
            f"model.pretrained={pretrained} is a file, which only timm's models start from: use model=timm."
        )
    weights = models.get_model_weights(name).DEFAULT if pretrained else None
    classes = {} if pretrained else {"num_classes": num_classes}
    try:
        network = models.get_model(name, weights=weights, **classes, **(kwargs or {}))
    except (TypeError, ValueError, AssertionError) as error:
        raise UserError(f"model.kwargs does not suit {name} ({reason(error)}): see torchvision's manual.") from error
    except (OSError, RuntimeError, EOFError) as error:
        if weights is None:
            raise
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        raise UserError(
            f"The weights of {name} could not be loaded ({reason(error)}): "
            f"put the file {weights.url} into {folder}, or set model.pretrained=false."
        ) from error
    _drop_auxiliary_heads(network)
    if pretrained:
        note_pretrained(network)
    _give_classes(network, num_classes)
    _read_channels(network, in_channels, pretrained)
    return fit(network, num_classes, in_channels, image_size, **settings)


def _drop_auxiliary_heads(network: nn.Module) -> None:
    """Drop the heads by which Inception and GoogLeNet give tuples of several heads' logits in training."""
    if hasattr(network, "aux_logits"):
        network.aux_logits = False
        for head in ("AuxLogits", "aux1", "aux2"):
            if hasattr(network, head):
                setattr(network, head, None)


def _give_classes(network: nn.Module, num_classes: int) -> None:
    # A classifier's last layer is the last one that its constructor makes; SqueezeNet's is a convolution.
    name, head = [(n, m) for n, m in network.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)][-1]
    if head.weight.shape[0] != num_classes:
        bias = head.bias is not None
        if isinstance(head, nn.Linear):
            fresh = nn.Linear(head.in_features, num_classes, bias)
        else:
            fresh = nn.Conv2d(head.in_channels, num_classes, head.kernel_size, bias=bias)
        network.set_submodule(name, fresh)


def _read_channels(network: nn.Module, in_channels: int, pretrained: bool) -> None:
    conv = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
    if conv.in_channels == in_channels:
        return
    old = conv.weight.detach()
    if pretrained:
        from timm.models import adapt_input_conv

        new = adapt_input_conv(in_channels, old)
    else:
        # torchvision's initialisations differ; a new draw keeps the spread of the layer's outputs.
        gain = math.sqrt(conv.in_channels / in_channels)
        new = torch.randn(old.shape[0], in_channels, *old.shape[2:]) * old.std() * gain
    conv.in_channels = in_channels
    conv.weight = nn.Parameter(new)
    if hasattr(network, "transform_input"):
        # Pretrained Inception and GoogLeNet rescale each of three colours.
        network.transform_input = False


@settings_of(fit)
def timm_model(
    name: str,
    num_classes: int,
    in_channels: int = 3,
    image_size: int = 32,
    pretrained: bool | str = False,
    kwargs: dict[str, Any] | None = None,
    **settings,
) -> nn.Module:
    """Build timm's model ``name``, (B, in_channels, image_size, image_size) -> (B, num_classes).

    Args:
        name: an architecture, or one with the tag of its weights, such as resnet26.bt_in1k.
        pretrained: start from timm's weights, or those in a file, .pth or .safetensors, that timm or this model has
            saved. timm fits them to the channels, classes and image size; a head for other classes starts anew.
        kwargs: more arguments for timm's constructor, such as drop_path_rate.
        settings: as `fit` takes them.

    Raises:
        UserError: an unknown name or argument, no weights to be had, images or a width that do not suit the model.
    """
    import timm

    require_known("timm", name, {*timm.list_models(), *timm.list_models(pretrained=True)})
    require_trained_numbers(pretrained, **settings)
    if pretrained is True and not timm.models.is_model_pretrained(name):
        raise UserError(f"timm has no weights of {name}: set model.pretrained=false or choose another model.name.")
    published = timm.get_pretrained_cfg(name)
    size = {"img_size": image_size} if published.fixed_input_size else {}
    classes, weights = published.num_classes, {}
    if isinstance(pretrained, str):
        state = _read_weights(pretrained)
        classes = _classes_in(state, published.classifier, pretrained, name)
        weights = {"pretrained_cfg_overlay": {"state_dict": state, "num_classes": classes}}
    try:
        network = timm.create_model(
            name, bool(pretrained), num_classes=num_classes, in_chans=in_channels, **size | weights | (kwargs or {})
        )
    except TypeError as error:
        raise UserError(f"model.kwargs does not suit {name} ({reason(error)}): see timm's manual.") from error
    except OSError as error:
        raise UserError(
            f"The weights of {name} could not be loaded ({reason(error)}): "
            "connect to the network once, so that they are kept, or set model.pretrained=false."
        ) from error
    except MISFITS as error:
        raise UserError(
            f"data.image_size: timm cannot build {name} for {image_size} pixels ({reason(error)}); "
            f"set it to {published.input_size[-1]}, as published, or choose another model."
        ) from error
    if pretrained:
        note_pretrained(network)
        if num_classes != classes:
            for head in ends(network, (in_channels, image_size, image_size))[1]:
                network.get_submodule(head).pretrained = False
    return fit(network, num_classes, in_channels, image_size, **settings)


def _read_weights(path: str) -> dict[str, Tensor]:
    from timm.models import load_state_dict

    try:
        return load_state_dict(path, weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, UnpicklingError, SafetensorError) as error:
        raise UserError(
            f"model.pretrained={path} cannot be read ({reason(error)}): give a file of weights, .pth or .safetensors."
        ) from error


def _classes_in(state: dict[str, Tensor], classifier: str | tuple[str, ...], path: str, name: str) -> int:
    """Count the classes of a file's weights, by the layer that timm names as the classifier."""
    head = classifier if isinstance(classifier, str) else classifier[0]
    if f"{head}.weight" not in state:
        raise UserError(f"model.pretrained={path} holds no weights of {name}: it has no {head}.weight.")
    return len(state[f"{head}.weight"])
