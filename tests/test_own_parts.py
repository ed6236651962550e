"""A user's own network and own method, without a change to the package."""

import json
import sys
from pathlib import Path

import pytest

import ensembles
from ensembles.errors import UserError

MODULE = """
from torch import nn

from ensembles.members import Separate
from ensembles.methods import Method


def network(num_classes, in_channels, image_size, hidden=16):
    features = in_channels * image_size**2
    return nn.Sequential(nn.Flatten(), nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, num_classes))


class Twins(Method):
    def __init__(self, backbone, input_shape, M=2):
        super().__init__(Separate([backbone() for _ in range(M)], input_shape))
"""


@pytest.fixture
def own(train, monkeypatch):
    Path("ownparts.py").write_text(MODULE)
    for name, text in {
        "model/mine": "_target_: ownparts.network",
        "method/twins": "_target_: ownparts.Twins\nM: 2",
    }.items():
        path = Path(f"conf/{name}.yaml")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    settings = ("recipe.epochs=1", "trainer.progress=false")
    yield lambda *arguments: train("--config-dir", "conf", *arguments, *settings)
    sys.modules.pop("ownparts", None)
    while str(Path.cwd()) in sys.path:
        sys.path.remove(str(Path.cwd()))


def test_own_network_and_method(own):
    ended = own("model=mine", "method=twins", "method.M=3")
    assert ended.code == 0, ended.err
    (run,) = Path("runs").glob("digits-mine-twins-*")
    assert len(json.loads((run / "results.json").read_text())["members/acc"]) == 3
    with pytest.raises(UserError, match="trust=\\['ownparts'\\]"):
        ensembles.load(run / "best.ckpt")
    assert ensembles.load(run / "best.ckpt", trust=["ownparts"]).ensemble.M == 3
    assert own("-m", "model=mine", "method=packed,mimo").code == 0
    assert "did you mean mine?" in own("model=mien").err
