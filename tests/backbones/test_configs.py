"""Each choice of ``model=`` builds, and says what it is."""

from pathlib import Path

import hydra
import pytest
import torch

FOLDER = Path(__file__).parents[2] / "configs"
NAMES = {"torchvision": "mobilenet_v3_small", "timm": "test_resnet"}


@pytest.mark.parametrize("path", sorted(FOLDER.glob("model/*.yaml")), ids=lambda path: path.stem)
def test_builds(path):
    overrides = [f"model.name={NAMES[path.stem]}"] if path.stem in NAMES else []
    with hydra.initialize_config_dir(str(FOLDER), version_base=None):
        config = hydra.compose(f"model/{path.stem}", [*overrides, "model.width=0.5"])
    with torch.device("meta"):
        network = hydra.utils.instantiate(config.model, num_classes=10, in_channels=1, image_size=16, _convert_="all")
    assert network(torch.empty(2, 1, 16, 16, device="meta")).shape == (2, 10)
    assert path.read_text().startswith("# ")
