"""scikit-learn's handwritten digits: 1,797 grey images of 8x8 pixels that come with the library."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ensembles.data.image_datamodule import ImageDataModule
from ensembles.data.labelled_set import LabelledSet, stratified
from ensembles.data.sets.small_images import digit_images, photo_patches
from ensembles.rng import generator

TEST_SIZE = 360  # a fifth


class Digits(ImageDataModule):
    """Digits, with patches of photographs as the far out-of-distribution set and spliced digits as the near one."""

    names = tuple("0123456789")
    in_channels = 1
    native_size = 8

    def load(self) -> dict[str, LabelledSet]:
        digits = digit_images()
        tested = torch.zeros(len(digits), dtype=torch.bool)
        tested[stratified(digits.labels, TEST_SIZE, "test")] = True
        pixels, labels = digits.images.pixels, digits.labels
        return {
            "train": LabelledSet(pixels[~tested], labels[~tested]),
            "test": LabelledSet(pixels[tested], labels[tested]),
        }

    def bundled_ood(self, size: int) -> dict[str, Tensor]:
        test = self.native_test
        return {
            "photos": photographs(size, self.native_size),
            "spliced": spliced(test.images.pixels, test.labels)[:size],
        }


def photographs(number: int, size: int) -> Tensor:
    """Take grey patches spread evenly over scikit-learn's two photographs, as many as asked for, up to 520.

    They are averaged down from 32x32 pixels, as the digits were.
    """
    grey = photo_patches().movedim(1, -1).float() @ torch.tensor([0.299, 0.587, 0.114])  # luma (ITU-R BT.601)
    patches = F.avg_pool2d(grey, grey.shape[-1] // size).round().to(torch.uint8).unsqueeze(1)
    number = min(number, len(patches))
    return patches[torch.arange(number) * len(patches) // number]


def spliced(images: Tensor, labels: Tensor) -> Tensor:
    """Put the upper half of each image on the lower half of one of another class: strokes that make no digit.

    A few make one all the same, such as a 9 on a 7.
    """
    random = generator("spliced")
    partner = torch.randint(len(images), (len(images),), generator=random)
    while (same := labels == labels[partner]).any():
        partner[same] = torch.randint(len(images), (int(same.sum()),), generator=random)
    middle = images.shape[2] // 2
    return torch.cat([images[:, :, :middle], images[partner][:, :, middle:]], dim=2)
