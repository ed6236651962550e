"""torch-uncertainty's corruption transforms on an array of images; runs in an environment of its own.

    python corruptions_reference.py images.npy out.npz

Takes uint8 images (N, H, W, C); writes ``<type>/<severity>``, the corrupted images, and ``<type>/<severity>/seconds``.
"""

import sys
import time
from inspect import signature

import numpy as np
import torch
from torch_uncertainty.transforms import corruption as transforms

NAMES = {
    "gaussian_noise": "GaussianNoise",
    "shot_noise": "ShotNoise",
    "impulse_noise": "ImpulseNoise",
    "defocus_blur": "DefocusBlur",
    "glass_blur": "GlassBlur",
    "motion_blur": "MotionBlur",
    "zoom_blur": "ZoomBlur",
    "snow": "Snow",
    "frost": "Frost",
    "fog": "Fog",
    "brightness": "Brightness",
    "contrast": "Contrast",
    "elastic_transform": "Elastic",
    "pixelate": "Pixelate",
    "jpeg_compression": "JPEGCompression",
    "speckle_noise": "SpeckleNoise",
    "gaussian_blur": "GaussianBlur",
    "saturate": "Saturation",
}


def main(source: str, target: str) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    images = torch.from_numpy(np.load(source)).movedim(-1, 1).float() / 255
    out = {}
    for name, class_name in NAMES.items():
        make = getattr(transforms, class_name)
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
