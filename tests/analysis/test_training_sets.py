"""Networks that are trained together are those that are trained one by one; what is said of them over training sets."""

import numpy as np
import pytest
import torch
from hydra import compose

from ensembles import build
from ensembles.analysis.regression import noise
from ensembles.analysis.training_sets import RESAMPLES, VmappedTraining, over_sets, resampled
from ensembles.cli.composing import checked, composing
from ensembles.data.synthetic_regression import SyntheticRegression, noisy
from ensembles.likelihoods import SquaredError
from ensembles.rng import generator, seed_of
from ensembles.runs import Run


def config(*overrides):
    given = ["data=synthetic_regression", "data/likelihood=squared_error", "method=mimo", "method.batch_repetition=1"]
    with composing():
        return checked(compose("train", [*given, "recipe.epochs=3", "data.test_size=40", *overrides]))


def one_by_one(chosen, seed):
    """The network of a seed after training by an ordinary loop."""
    data = build.call(chosen["data"] | {"set_seed": seed}, batch_size=chosen["recipe"]["batch_size"], seed=seed)
    torch.manual_seed(seed_of(seed, "initialisation"))
    about = {"method": chosen["method"], "model": chosen["model"], "num_classes": data.num_classes}
    method = build.method(about | {"in_channels": 1, "image_size": 1, "likelihood": chosen["data"]["likelihood"]})
    data.deal = method.deal
    data.setup()
    optimizer = torch.optim.Adam(method.parameters(), lr=chosen["recipe"]["optimizer"]["lr"])
    for epoch in range(chosen["recipe"]["epochs"]):
        for step in range(2):
            x, y = data.on_after_batch_transfer(data.train_dataloader().batch(epoch, step), 0)
            optimizer.zero_grad()
            method.loss(method(x), y).backward()
            optimizer.step()
    return method, data


@pytest.mark.parametrize("overrides", [[], ["data/likelihood=gaussian", "method.M=1"]])
def test_networks_trained_together_are_those_trained_one_by_one(overrides):
    chosen = config(*overrides)
    population = VmappedTraining(chosen, [0, 4])
    assert list(population.train()) == [1, 2, 3]
    for s, seed in enumerate([0, 4]):
        method, data = one_by_one(chosen, seed)
        x = data.sets["test"].features
        with torch.no_grad():
            expected = method.likelihood.moments(method(x[..., None, None]))[0]
        torch.testing.assert_close(population.predict(x)[s], expected, rtol=1e-4, atol=1e-5)


def test_bias_variance_and_error_over_training_sets(tmp_path):
    chosen = config("method.M=2")
    run = Run(chosen, tmp_path)
    found = over_sets(run, sets=4, every=2)
    assert found.epochs.tolist() == [2, 3] and found.last.shape == (4, 2, 40)
    data = SyntheticRegression(32, likelihood=SquaredError(), test_size=40)
    data.setup()
    y = data.sets["test"].labels.double().numpy()
    ensemble = found.last.astype(float).mean(1)
    bias2, variance = ((ensemble.mean(0) - y) ** 2).mean(), ensemble.var(0).mean()
    np.testing.assert_allclose(found.ensemble[-1], [bias2, variance, ((ensemble - y) ** 2).mean()], rtol=1e-5)
    np.testing.assert_allclose(found.members[-1, 2], ((found.last.astype(float) - y) ** 2).mean(), rtol=1e-5)
    picks = torch.randint(4, (RESAMPLES, 4), generator=generator("bootstrap", 4))
    one = ensemble[picks[7].numpy()]
    expected = [((one.mean(0) - y) ** 2).mean(), one.var(0).mean(), ((one - y) ** 2).mean()]
    np.testing.assert_allclose(resampled(found)[7], expected, rtol=1e-6)
    (kept,) = tmp_path.glob("*.npz")
    written = kept.stat().st_mtime_ns
    again = over_sets(run, sets=4, every=2)
    assert np.array_equal(again.last, found.last) and kept.stat().st_mtime_ns == written
    kept.write_bytes(kept.read_bytes()[:500])
    assert np.array_equal(over_sets(run, sets=4, every=2).last, found.last)  # a damaged file is computed anew


def test_the_noise_of_the_targets_is_the_least_error():
    data = SyntheticRegression(32, likelihood=SquaredError(), test_size=500, noise=0.01)
    data.setup()
    x = data.sets["test"].features[:, 0]
    slope = 1 + 0.6 * np.pi * torch.cos(2 * np.pi * x) + 1.2 * np.pi * torch.cos(4 * np.pi * x)
    linear = (0.01 * slope).square().mean().item()
    assert noise(data) == pytest.approx(linear, rel=0.1)
    assert (noisy(x, torch.full_like(x, 1e-4)) - noisy(x)).div(1e-4).sub(slope).abs().max() < 0.02
