"""How subnetworks come apart: conditional variances, epochs that a run keeps, and ways through function space."""

from functools import partial
from pathlib import Path

import pytest
import torch
import yaml

from ensembles.analysis.subnetworks import conditional_variances, embed, shares, trajectory
from ensembles.analysis.trained import Trained
from ensembles.backbones import mlp, small_cnn
from ensembles.checkpoints import read_checkpoint
from ensembles.errors import UserError
from ensembles.methods import Method
from ensembles.methods.mimo import mimo
from ensembles.methods.naive_multihead import naive_multihead
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
    first, second = embed(logits)
    assert first.shape == (4, 2, 2) and second.shape == (3, 3, 2)
    assert torch.equal(embed(logits)[1], second)
    apart = torch.cdist(first[:, 0], first[:, 0])
    assert apart[0, 1] < apart[0, 2:].min()


def test_of_a_linear_layer_by_hand():
    """A linear layer's pre-activation varies over input m by W_m Cov(x) W_m^T, wherever the others are."""
    ensemble = mimo(partial(mlp, 4, in_channels=2, image_size=2), 3, (2, 2, 2)).eval()
    images = torch.randn(30, 2, 2, 2)
    found = conditional_variances(ensemble, images, fixed=2)
    assert found.shape == (3, 32 + 128)
    covariance = images.flatten(1).T.double().cov()
    for m, weight in enumerate(ensemble.network.fc1.weight.detach().double().chunk(3, dim=1)):
        assert torch.allclose(found[m, :32], (weight @ covariance @ weight.T).diagonal())


def test_of_a_convolution_by_hand():
    ensemble = mimo(partial(small_cnn, 4, in_channels=1, image_size=8), 2, (1, 8, 8)).eval()
    images = torch.randn(10, 1, 8, 8)
    found = conditional_variances(ensemble, images, fixed=1)
    assert found.shape == (2, 16 + 32 + 32)
    for m, weight in enumerate(ensemble.network.conv1.weight.detach().chunk(2, dim=1)):
        maps = torch.nn.functional.conv2d(images, weight, padding=1)
        assert torch.allclose(found[m, :16].float(), maps.var(0).mean((1, 2)), rtol=1e-4)


def test_a_network_that_reads_one_input_depends_on_it_alone():
    ensemble = mimo(partial(small_cnn, 4, in_channels=1, image_size=8), 2, (1, 8, 8)).eval()
    with torch.no_grad():
        ensemble.network.conv1.weight[:, 1] = 0
        ensemble.network.conv1.weight[0] = 0  # and a unit that reads none
    found = conditional_variances(ensemble, torch.randn(10, 1, 8, 8), fixed=2)
    assert (found[1] == 0).all() and found[0, 0] == 0 and (found[0, 1:16] > 0).all()
    assert shares(found)[:, 0].tolist() == [0, 0] and shares(found)[:, 1].tolist() == [1, 0]


def test_other_inputs_are_averaged_over():
    """After a ReLU the variance over one input depends on where the other is: the mean over its values is taken."""
    ensemble = mimo(partial(mlp, 4, in_channels=1, image_size=1), 2, (1, 1, 1)).eval()
    images = torch.randn(5, 1, 1, 1)
    found = conditional_variances(ensemble, images, fixed=400)
    network, expected = ensemble.network, []
    for m in range(2):
        each = []
        for other in images:
            inputs = torch.stack(
                [images, other.expand(5, -1, -1, -1)] if m == 0 else [other.expand(5, -1, -1, -1), images]
            )
            hidden = network.relu1(network.fc1(torch.cat(inputs.unbind(0), dim=1).flatten(1)))
            each.append(network.fc2(hidden).detach().var(0))
        expected.append(torch.stack(each).mean(0))
    assert torch.allclose(found[:, 32:].float().sum(1), torch.stack(expected).sum(1), rtol=0.1)


def test_only_mimo_has_inputs_to_tell_apart():
    with pytest.raises(UserError, match="Only method=mimo has an input for each subnetwork"):
        conditional_variances(naive_multihead(partial(mlp, 4), 2), torch.randn(2, 3, 32, 32))
