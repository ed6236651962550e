"""A user's own network and own method, without a change to the package."""

import json
import sys
from pathlib import Path

import pytest

import ensembles
from ensembles.errors import UserError

MODULE = """
from torch import nn

from ensembles.methods.base import Method, Separate


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
    settings = ("recipe.epochs=1", "runtime.progress=false")
    yield lambda *arguments: train("--config-dir", "conf", *arguments, *settings)
    sys.modules.pop("ownparts", None)
    while str(Path.cwd()) in sys.path:
        sys.path.remove(str(Path.cwd()))


@pytest.mark.slow
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


def test_an_own_network_that_fails_is_named_with_its_error(own):
    Path("ownparts.py").write_text("def network(**settings):\n    return {}['depth']\n")
    ended = own("model=mine")
    assert ended.code == 1 and len(ended.err.splitlines()) == 1
    assert "ownparts.network fails with KeyError: 'depth' (ownparts.py, line 2). Its traceback is in" in ended.err
    (log,) = Path("runs").glob("*/error.log")
    assert "return {}['depth']" in log.read_text()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import nosuchmodule", "cannot be loaded: ModuleNotFoundError: No module named 'nosuchmodule'"),
        ("def network(**settings):\n    pass", "gives NoneType, but must give a torch.nn.Module"),
        ("def network(a):\n    pass", "does not take its settings: network() got an unexpected keyword argument"),
        (
            "from torch import nn\ndef network(**_):\n    return nn.Linear(3, 10)",
            "Linear fails on inputs ('B', 1, 8, 8)",
        ),
    ],
)
def test_an_own_network_that_is_none(own, text, said):
    Path("ownparts.py").write_text(text + "\n")
    assert said in own("model=mine").err
