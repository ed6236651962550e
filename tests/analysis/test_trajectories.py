"""Epochs that a run keeps, and the members' ways through function space."""

from pathlib import Path

import pytest
import torch
import yaml

from ensembles.analysis.trained import Trained
from ensembles.analysis.trajectories import embed, trajectory
from ensembles.checkpoints import read_checkpoint
from ensembles.errors import UserError
from ensembles.methods import Method
from ensembles.runs import Run

KEEPING = ("method=mimo", "method.M=2", "recipe.epochs=3", "runtime.keep_every=1", "data.val_fraction=0")


@pytest.fixture
def run(tiny):
    assert tiny(*KEEPING).code == 0
    return _only_run()


def _only_run():
    (folder,) = (path for path in Path("runs").iterdir() if not path.name.endswith(".previous"))
    return Run(yaml.safe_load((folder / "config.yaml").read_text()), folder)


@pytest.mark.slow
def test_an_interrupted_run_keeps_the_same_epochs(run, tiny, monkeypatch):
    whole = {path.name: read_checkpoint(path)["state_dict"] for path in run.epochs.iterdir()}
    assert sorted(whole) == ["0000.ckpt", "0001.ckpt", "0002.ckpt", "0003.ckpt"]
    step, left = Method.training_step, {"steps": 4}

    def dies(self, batch):
        left["steps"] -= 1
        if left["steps"] < 0:
            raise KeyboardInterrupt
        return step(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Method, "training_step", dies)
        assert tiny(*KEEPING, "force=true").code != 0
    assert sorted(path.name for path in run.epochs.iterdir()) == ["0000.ckpt", "0001.ckpt"]
    assert tiny(*KEEPING).code == 0
    for name, state in whole.items():
        again = read_checkpoint(run.epochs / name)["state_dict"]
        assert all(torch.equal(value, again[key]) for key, value in state.items())


def test_the_trajectory_ends_where_the_run_ended(run):
    trained = Trained(run)
    images, labels = trained.test(20)
    epochs, logits = trajectory(trained, images)
    assert epochs == [0, 1, 2, 3] and logits.shape == (4, 2, 20, 10)
    assert torch.equal(logits[-1], trained.ensemble(images)) and not torch.equal(logits[0], logits[1])
    assert labels.bincount(minlength=10).tolist() == [2] * 10
    assert torch.equal(Trained(run).test(20)[0], images)
    images, labels = trained.test(None)  # all: accuracy on them is what the run's own evaluation found
    predicted = trained.ensemble(images).softmax(-1).mean(0).argmax(-1)
    assert (predicted == labels).double().mean().item() == pytest.approx(run.results()["test/acc"])


@pytest.mark.slow
def test_keeping_epochs_makes_a_run_of_its_own(tiny):
    """A run that keeps none has the folder that it had before there was the setting."""
    tiny("recipe.epochs=1")
    with pytest.raises(UserError, match=r"train it again with runtime\.keep_every=1"):
        Trained(_only_run()).epochs  # noqa: B018
    tiny("recipe.epochs=1", "runtime.keep_every=1")
    kept = {path: (path / "epochs").is_dir() for path in Path("runs").iterdir()}
    assert sorted(kept.values()) == [False, True]
    ended = tiny("runtime.keep_every=0")
    assert ended.code == 1 and "runtime.keep_every is 0, but must be an integer of at least 1" in ended.err


def test_one_embedding_holds_all_trajectories():
    logits = [torch.randn(4, 2, 5, 3), torch.randn(3, 3, 5, 3)]
    logits[0][1] = logits[0][0]  # two epochs with the same predictions
    first, second = embed(logits, perplexity=30)
    assert first.shape == (4, 2, 2) and second.shape == (3, 3, 2)
    assert torch.equal(embed(logits, perplexity=30)[1], second)
    apart = torch.cdist(first[:, 0], first[:, 0])
    assert apart[0, 1] < apart[0, 2:].min()
