"""UCI sets in their usual files, and diabetes: what is read, split and normalised, and what is refused."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_diabetes

from ensembles.data import UCI, Diabetes
from ensembles.errors import UserError
from ensembles.likelihoods import Gaussian, SquaredError

N, SPLITS = 50, 3


@pytest.fixture
def files(tmp_path):
    """The usual files of a set of 4 columns, of which the second is the target and the last is constant."""
    draws = np.random.default_rng(0)
    folder = tmp_path / "yacht/data"
    folder.mkdir(parents=True)
    table = draws.normal(size=(N, 4)) * [1, 100, 1000, 0] + [0, 50, -3000, 7]
    np.savetxt(folder / "data.txt", table)
    np.savetxt(folder / "index_features.txt", [0, 2, 3])
    np.savetxt(folder / "index_target.txt", [1])
    for split in range(SPLITS):
        order = draws.permutation(N)
        np.savetxt(folder / f"index_train_{split}.txt", order[5:])
        np.savetxt(folder / f"index_test_{split}.txt", order[:5])
    return folder, table


def made(folder, kind=UCI, **settings):
    settings = {"root": str(folder.parents[1]), "name": "yacht"} | settings if kind is UCI else settings
    data = kind(16, **{"likelihood": Gaussian(), **settings})
    data.setup()
    return data


def test_a_split_is_normalised_by_what_it_trains_on(files):
    folder, table = files
    data = made(folder, split=1)
    train = np.loadtxt(folder / "index_train_1.txt").astype(int)
    test = np.loadtxt(folder / "index_test_1.txt").astype(int)
    assert {name: len(rows) for name, rows in data.sets.items()} == {"train": 45, "test": 5}
    x, y = data.on_after_batch_transfer(next(iter(data.test_dataloader()[0])), 0)
    features = table[:, [0, 2, 3]]
    sd = features[train].std(0)
    expected = (features[test] - features[train].mean(0)) / np.where(sd > 0, sd, 1)
    torch.testing.assert_close(x[:, :, 0, 0].double().numpy(), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(y.double().numpy(), table[test, 1], rtol=1e-6, atol=1e-5)
    assert data.target_scale == {"target_mean": table[train, 1].mean(), "target_sd": table[train, 1].std()}
    assert (data.in_channels, data.image_size, data.num_classes) == (3, 1, 2)


def test_a_validation_part_is_held_out_of_the_training_split(files):
    folder, _ = files
    whole, held, again = made(folder), made(folder, val_fraction=0.2), made(folder, val_fraction=0.2, seed=3)
    assert {name: len(rows) for name, rows in held.sets.items()} == {"val": 9, "train": 36, "test": 5}
    parts = [*held.sets["train"].index.tolist(), *held.sets["val"].index.tolist()]
    assert sorted(parts) == sorted(whole.sets["train"].index.tolist())
    assert held.target_scale == whole.target_scale and torch.equal(held.sets["val"].index, again.sets["val"].index)


def test_a_longer_usual_name_and_files_without_the_inner_folder(files):
    folder, _ = files
    folder.parent.rename(folder.parents[1] / "bostonHousing")
    assert len(made(folder, name="boston").sets["train"]) == 45
    (folder.parents[1] / "bostonHousing/data").rename(folder.parents[1] / "flat")
    assert len(made(folder, name="flat").sets["train"]) == 45


def write(name, text):
    return lambda folder: (folder / name).write_text(text)


@pytest.mark.parametrize(
    "change, settings, said",
    [
        (None, {"name": "concrete"}, "There is no .*concrete/data/data.txt: put the usual files there"),
        (None, {"split": 3}, "has no split 3: it has 3, from data.split=0 on"),
        (None, {"split": -1}, "data.split is -1"),
        (None, {"val_fraction": 0.001}, "data.val_fraction=0.001 leaves"),
        (write("data.txt", "1 2 3 4\n1 2"), {}, "data.txt cannot be read"),
        (write("data.txt", "1 2 nan 4\n1 2 3 4"), {}, "not finite"),
        (write("data.txt", ""), {}, "holds no numbers"),
        (write("index_features.txt", "0\n4"), {}, "index_features.txt must hold integers from 0 to 3"),
        (write("index_features.txt", "0\n0"), {}, "holds a position twice"),
        (write("index_target.txt", "0"), {}, "must name one column that is no feature's"),
        (write("index_train_0.txt", "0\n1.5"), {}, "index_train_0.txt must hold integers"),
        (lambda folder: (folder / "index_test_0.txt").unlink(), {}, "There is no .*index_test_0.txt"),
        (write("index_test_0.txt", "\n".join(map(str, range(N)))), {}, "tests on what it trains on"),
    ],
)
@pytest.mark.filterwarnings("ignore:loadtxt")
def test_what_is_refused(files, change, settings, said):
    folder, _ = files
    if change:
        change(folder)
    with pytest.raises(UserError, match=said):
        made(folder, **settings)


def test_diabetes_has_20_splits_of_nine_tenths(tmp_path):
    features, targets = load_diabetes(return_X_y=True, scaled=False)
    tests = []
    for split in range(20):
        data = made(tmp_path, Diabetes, split=split)
        train, test = (data.sets[name].index.tolist() for name in ("train", "test"))
        assert (len(train), len(test)) == (398, 44) and sorted(train + test) == list(range(442))
        tests.append(tuple(test))
    assert len(set(tests)) == 20
    torch.testing.assert_close(data.sets["test"].labels.double().numpy(), targets[test])
    torch.testing.assert_close(data.sets["test"].features.double().numpy(), features[test], rtol=1e-6, atol=1e-6)
    again = made(tmp_path, Diabetes, split=19, seed=5)
    assert torch.equal(again.sets["test"].index, data.sets["test"].index)
    with pytest.raises(UserError, match=r"data\.split is 20, but there are the splits 0 to 19"):
        made(tmp_path, Diabetes, split=20)


@pytest.mark.parametrize("kind", [Gaussian, SquaredError])
def test_a_likelihood_speaks_in_the_targets_unit(kind):
    """Its loss is that of normalised targets, but for a constant, so networks are trained alike."""
    outputs, y = torch.randn(3, 8, 2, dtype=torch.float64, requires_grad=True), torch.randn(8, dtype=torch.float64)
    own, plain = kind(target_mean=5.0, target_sd=20.0), kind()
    means, variances = own.moments(outputs)
    before, variances_before = plain.moments(outputs)
    torch.testing.assert_close(means, 5 + 20 * before)
    if variances is not None:
        torch.testing.assert_close(variances, 400 * variances_before)
    grads = [torch.autograd.grad(of.loss(outputs, to), outputs)[0] for of, to in ((own, 5 + 20 * y), (plain, y))]
    torch.testing.assert_close(*grads)
    with pytest.raises(UserError, match="target_sd is 0"):
        kind(target_sd=0)


def test_a_known_deviation_of_the_noise_is_in_the_targets_unit():
    _, variances = Gaussian(sd=3.0, target_mean=5.0, target_sd=20.0).moments(torch.zeros(2, 4, 1))
    assert (variances == 9).all()
