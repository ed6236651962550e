"""scikit-learn's handwritten digits: 1,797 grey images of 8x8 pixels that come with the library."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ensembles.data.module import ImageDataModule, Loaded
from ensembles.data.splits import stratified

TEST_SIZE = 360  # a fifth
PATCH = 32  # pixels of a photograph's patch: the digits, too, were scanned at 32x32 and averaged down to 8x8


class Digits(ImageDataModule):
    """Digits, with patches of scikit-learn's two sample photographs as the far out-of-distribution set."""

    names = tuple("0123456789")
    in_channels = 1
    native_size = 8

    def load(self) -> Loaded:
        from sklearn.datasets import load_digits

        digits = load_digits()
        images = (torch.from_numpy(digits.images) * (255 / 16)).round().to(torch.uint8).unsqueeze(1)
        labels = torch.from_numpy(digits.target).long()
        tested = torch.zeros(len(labels), dtype=torch.bool)
        tested[stratified(labels, TEST_SIZE, "test")] = True
        return Loaded(train=(images[~tested], labels[~tested]), test=(images[tested], labels[tested]))

    def ood(self, size: int) -> dict[str, Tensor]:
        """Grey patches spread evenly over the photographs, as many as asked for, without overlap (520 at most)."""
        from sklearn.datasets import load_sample_images

        weights = torch.tensor([0.299, 0.587, 0.114])  # luma (ITU-R BT.601)
        grey = torch.stack([torch.from_numpy(image.copy()).float() @ weights for image in load_sample_images().images])
        patches = F.avg_pool2d(grey, PATCH // self.native_size)  # what a row or column has beyond whole patches is cut
        rows, columns = (length // self.native_size for length in patches.shape[1:])
        patches = patches[:, : rows * self.native_size, : columns * self.native_size]
        patches = patches.unfold(1, self.native_size, self.native_size).unfold(2, self.native_size, self.native_size)
        patches = patches.reshape(-1, 1, self.native_size, self.native_size).round().to(torch.uint8)
        spread = torch.arange(min(size, len(patches))) * len(patches) // min(size, len(patches))
        return {"photos": patches[spread]}
