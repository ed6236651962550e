"""The noisy function of one variable: what is drawn, what is dealt, what is refused."""

import math

import pytest
import torch

from ensembles.data import SyntheticRegression
from ensembles.data.synthetic_regression import noisy
from ensembles.deal import Deal
from ensembles.errors import UserError
from ensembles.likelihoods import Gaussian, SquaredError
from ensembles.methods import mimo


def made(batch_size=32, **settings):
    data = SyntheticRegression(batch_size, **{"likelihood": Gaussian(), **settings})
    data.setup()
    return data


def batch(data, epoch=0, step=0):
    return data.on_after_batch_transfer(data.train_dataloader().batch(epoch, step), 0)


def points(data, name):
    return data.sets[name].features[:, 0], data.sets[name].labels


def test_the_function():
    for x, e in ((0.1, 0.0), (0.37, 0.05), (-2.0, -0.3)):
        y = x + 0.3 * math.sin(2 * math.pi * (x + e)) + 0.3 * math.sin(4 * math.pi * (x + e)) + e
        assert noisy(torch.tensor(x), torch.tensor(e)).item() == pytest.approx(y, abs=1e-6)


def test_points_lie_in_the_interval_and_around_the_function():
    data = made(noise=0)
    assert {name: len(examples) for name, examples in data.sets.items()} == {"train": 64, "test": 3000}
    for name in data.sets:
        x, y = points(data, name)
        assert x.min() >= 0 and x.max() <= 0.5
        torch.testing.assert_close(y, noisy(x))
    x, y = points(made(test_size=20000), "test")
    assert x.mean().item() == pytest.approx(0.25, abs=0.01)
    # e moves y by its slope: the targets' variance at the middle of the first rise, to first order
    near = (x - 0.05).abs() < 0.003
    slope = 1 + 0.6 * math.pi * math.cos(0.1 * math.pi) + 1.2 * math.pi * math.cos(0.2 * math.pi)
    assert (y - noisy(x))[near].std().item() == pytest.approx(0.02 * slope, rel=0.2)


def test_another_set_seed_draws_other_training_points_and_the_same_test_points():
    first, same, other = made(), made(seed=5), made(set_seed=1)
    assert torch.equal(points(first, "train")[1], points(same, "train")[1])
    assert not torch.equal(points(first, "train")[0], points(other, "train")[0])
    assert torch.equal(points(first, "test")[1], points(other, "test")[1])


def test_batches_are_dealt_and_each_point_keeps_its_target():
    data = made(noise=0)
    x, y = batch(data)
    assert x.shape == (32, 1, 1, 1) and y.shape == (32,) and y.dtype == torch.float32
    seen = torch.cat([batch(data, step=step)[0].flatten() for step in range(2)])
    torch.testing.assert_close(seen.sort().values, points(data, "train")[0].sort().values)
    data.deal = mimo.deal(3, 0.0, 2)
    x, y = batch(data)
    assert x.shape == (3, 64, 1, 1, 1) and y.shape == (3, 64)
    torch.testing.assert_close(y, noisy(x[..., 0, 0, 0]))
    assert not torch.equal(x[0], x[1])
    data.deal = Deal(shuffles=2)
    x, y = batch(data)
    assert x.shape == (2, 32, 1, 1, 1)
    torch.testing.assert_close(y, noisy(x[..., 0, 0, 0]))


def test_two_processes_see_what_one_sees():
    alone = made()
    alone.deal = mimo.deal(3, 0.0, 1)
    whole = batch(alone, epoch=4, step=1)
    shares, evaluated = [], []
    for rank in range(2):
        part = made(eval_batch_size=700)
        part.deal = alone.deal
        part.trainer = type("Trainer", (), {"global_rank": rank, "world_size": 2, "current_epoch": 4})()
        shares.append(batch(part, epoch=4, step=1))
        evaluated += [part.on_after_batch_transfer(batch, 0) for batch in part.test_dataloader()[1]]
    for i in range(2):
        assert torch.equal(torch.cat([share[i] for share in shares], dim=1), whole[i])
    assert torch.equal(torch.cat([y for _, y in evaluated]), alone.sets["test"].labels)


def test_validation_is_held_out():
    data = made(val_fraction=0.25, noise=0)
    kept, held = points(data, "train")[0], points(data, "val")[0]
    assert (len(kept), len(held)) == (48, 16)
    torch.testing.assert_close(torch.cat([kept, held]).sort().values, points(made(), "train")[0].sort().values)
    assert list(data.test_sets) == ["train", "test"] and made().val_dataloader() == []


def test_extrapolation_lies_outside():
    data = made(extrapolation=[-0.5, 0.75])
    x, _ = points(data, "shift/extrapolation")
    below, above = x < 0, x > 0.5
    assert (below | above).all() and x.min() >= -0.5 and x.max() <= 0.75
    assert below.float().mean().item() == pytest.approx(2 / 3, abs=0.03)
    assert list(data.test_sets) == ["train", "test", "shift/extrapolation"]


@pytest.mark.parametrize(
    "settings, said",
    [
        ({"interval": [0.5, 0]}, r"data\.interval is \[0\.5, 0\]"),
        ({"interval": 3}, r"data\.interval is 3"),
        ({"extrapolation": [0.1, 0.2]}, r"data\.extrapolation=\[0\.1, 0\.2\] must reach beyond"),
        ({"noise": -0.1}, r"data\.noise is -0\.1"),
        ({"train_size": 0}, r"data\.train_size is 0"),
        ({"test_size": 2.5}, r"data\.test_size is 2\.5"),
        ({"set_seed": -1}, r"data\.set_seed is -1"),
        ({"val_fraction": 0.001}, r"data\.val_fraction=0\.001 leaves training or validation without a point"),
    ],
)
def test_what_cannot_be_drawn_is_refused(settings, said):
    with pytest.raises(UserError, match=said):
        made(**settings)


def test_a_network_has_as_many_outputs_as_the_likelihood_wants():
    assert (made().num_classes, made(likelihood=SquaredError()).num_classes) == (2, 1)
