"""Any model of timm, by its name."""

from typing import Any

from torch import nn

from ensembles.backbones.by_name import require_known, require_trained_numbers
from ensembles.backbones.fit import MISFITS, fit, reason
from ensembles.errors import UserError


def timm_model(
    name: str,
    num_classes: int,
    in_channels: int = 3,
    image_size: int = 32,
    width: float = 1.0,
    pretrained: bool = False,
    kwargs: dict[str, Any] | None = None,
    ghost_batch: int | None = None,
    init: str | None = None,
) -> nn.Module:
    """timm's model ``name``, (B, in_channels, image_size, image_size) -> (B, num_classes).

    Args:
        name: an architecture, or one with the tag of its weights, such as resnet26.bt_in1k.
        pretrained: start from timm's weights, which timm fits to the channels, classes and image size.
        kwargs: more arguments for timm's constructor, such as drop_path_rate.
        ghost_batch, init: as `fit` takes them.

    Raises:
        UserError: an unknown name or argument, no weights to be had, images or a width that do not suit the model.
    """
    import timm

    require_known("timm", name, {*timm.list_models(), *timm.list_models(pretrained=True)})
    require_trained_numbers(pretrained, width, init)
    if pretrained and not timm.models.is_model_pretrained(name):
        raise UserError(f"timm has no weights of {name}: set model.pretrained=false or choose another model.name.")
    published = timm.get_pretrained_cfg(name)
    size = {"img_size": image_size} if published.fixed_input_size else {}
    try:
        network = timm.create_model(
            name, pretrained, num_classes=num_classes, in_chans=in_channels, **size | (kwargs or {})
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
    return fit(network, num_classes, in_channels, image_size, width, ghost_batch, init)
