"""torch-uncertainty's corruption transforms on an array of images; runs in an environment of its own.

    python corruptions_reference.py images.npy out.npz

Takes uint8 images (N, H, W, C); writes ``<type>/<severity>``, the corrupted images, and ``<type>/<severity>/seconds``.
"""

import re
import sys
import time
from inspect import signature

import numpy as np
import torch
from torch_uncertainty.transforms import corruption as transforms

NAMES = (
    *("GaussianNoise", "ShotNoise", "ImpulseNoise", "DefocusBlur", "GlassBlur", "MotionBlur", "ZoomBlur"),
    *("Snow", "Frost", "Fog", "Brightness", "Contrast", "Elastic", "Pixelate", "JPEGCompression"),
    *("SpeckleNoise", "GaussianBlur", "Saturation"),
)
OURS = {"Elastic": "elastic_transform", "JPEGCompression": "jpeg_compression", "Saturation": "saturate"}


def main(source: str, target: str) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    images = torch.from_numpy(np.load(source)).movedim(-1, 1).float() / 255
    out = {}
    for class_name in NAMES:
        make = getattr(transforms, class_name)
        name = OURS.get(class_name) or re.sub(r"(?<=[a-z])(?=[A-Z])", "_", class_name).lower()
        seed = {"seed": 0} if "seed" in signature(make).parameters else {}
        for severity in range(1, 6):
            transform = make(severity, **seed)
            started = time.perf_counter()
            corrupted = torch.stack([torch.as_tensor(transform(image.clone())) for image in images])
            out[f"{name}/{severity}/seconds"] = time.perf_counter() - started
            levels = (corrupted.clamp(0, 1) * 255).round().byte()
            out[f"{name}/{severity}"] = levels.movedim(1, -1).numpy()
    np.savez(target, **out)


if __name__ == "__main__":
    main(*sys.argv[1:])
