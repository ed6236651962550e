"""Losses and metrics of regressions, held against torch.distributions and NumPy."""

import numpy as np
import pytest
import torch
from torch.distributions import Categorical, MixtureSameFamily, Normal

from ensembles.errors import UserError
from ensembles.likelihoods import Gaussian, SquaredError
from ensembles.metrics import Predicted
from ensembles.metrics.regression import bias_and_variance, mixture_sd

M, N = 3, 50


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


OUTPUTS, TARGETS = random(M, N, 2), random(N, seed=1)


def normals(outputs):
    return Normal(outputs[..., 0], torch.nn.functional.softplus(outputs[..., 1]).sqrt())


def test_learned_variance_loss_is_the_negative_log_likelihood():
    expected = -normals(OUTPUTS).log_prob(TARGETS).mean()
    torch.testing.assert_close(Gaussian().loss(OUTPUTS, TARGETS), expected, rtol=1e-4, atol=1e-5)
    own = random(M, N, seed=2)
    expected = -normals(OUTPUTS).log_prob(own).mean()
    torch.testing.assert_close(Gaussian().loss(OUTPUTS, own), expected, rtol=1e-4, atol=1e-5)


def test_fixed_deviation_loss_is_the_negative_log_likelihood():
    mean = OUTPUTS[..., :1]
    expected = -Normal(mean[..., 0], 0.3).log_prob(TARGETS).mean()
    torch.testing.assert_close(Gaussian(sd=0.3).loss(mean, TARGETS), expected)
    assert (Gaussian(sd=0.3).outputs, Gaussian().outputs, SquaredError().outputs) == (1, 2, 1)


def test_squared_error_loss():
    expected = np.mean((OUTPUTS[..., 0].numpy() - TARGETS.numpy()) ** 2)
    assert SquaredError().loss(OUTPUTS[..., :1], TARGETS).item() == pytest.approx(expected)


def test_the_ensemble_is_the_equal_mixture_of_its_members():
    parts = normals(OUTPUTS.transpose(0, 1))
    mixture = MixtureSameFamily(Categorical(torch.ones(N, M, dtype=torch.float64)), parts)
    metrics = Gaussian().validation_metrics()
    for part in torch.arange(len(TARGETS)).split(3):
        metrics.update(OUTPUTS[:, part], TARGETS[part])
    found = {name: value.item() for name, value in metrics.compute().items()}
    assert found["nll"] == pytest.approx(-mixture.log_prob(TARGETS).mean().item(), rel=1e-4)
    assert found["mse"] == pytest.approx((mixture.mean - TARGETS).square().mean().item())
    assert found["rmse"] == pytest.approx(found["mse"] ** 0.5)
    torch.testing.assert_close(mixture_sd(*Gaussian().moments(OUTPUTS)), mixture.stddev, rtol=1e-4, atol=1e-5)


def summarised(likelihood, outputs, targets=TARGETS):
    summary = likelihood.summary()
    summary.add("test", Predicted(outputs.float(), targets.float()))
    summary.add("train", Predicted(outputs[:, :7].float(), targets[:7].float()))
    return summary.results()


def test_results_of_members_and_ensemble():
    found = summarised(Gaussian(), OUTPUTS)
    means, y = OUTPUTS[..., 0].float().double().numpy(), TARGETS.float().double().numpy()
    np.testing.assert_allclose(found["members/mse"], ((means - y) ** 2).mean(1))
    np.testing.assert_allclose(found["test/mse"], ((means.mean(0) - y) ** 2).mean())
    np.testing.assert_allclose(np.mean(found["members/mse"]), found["test/mse"] + found["diversity/variance"])
    np.testing.assert_allclose(found["train/mse"], ((means.mean(0) - y) ** 2)[:7].mean())
    alone = -normals(OUTPUTS).log_prob(TARGETS).mean(1)
    np.testing.assert_allclose(found["members/nll"], alone, rtol=1e-3)
    assert found["test/nll"] < np.mean(found["members/nll"])  # Jensen's inequality


def test_squared_error_has_no_likelihood_and_one_member_no_diversity():
    found = summarised(SquaredError(), OUTPUTS[:1, :, :1])
    assert set(found) == {f"{of}/{metric}" for of in ("test", "members", "train") for metric in ("mse", "rmse")}


def test_what_cannot_be_measured_is_refused():
    broken = OUTPUTS.clone()
    broken[0, 3, 0] = torch.nan
    with pytest.raises(UserError, match="The outputs on the set 'test' hold NaN"):
        summarised(Gaussian(), broken)
    with pytest.raises(UserError, match="'test' has 50 points and 49 targets"):
        summarised(Gaussian(), OUTPUTS, TARGETS[:-1])
    with pytest.raises(UserError, match="no test set"):
        Gaussian().summary().results()
    with pytest.raises(UserError, match="temperature_scaling"):
        Gaussian().summary(temperature_scaling=True)
    for sd in (0, -1.0, True, "wide", float("inf")):
        with pytest.raises(UserError, match=r"data\.likelihood\.sd is"):
            Gaussian(sd=sd)


def test_bias_and_variance_add_up_to_the_error():
    predictions = random(20, N, seed=3)
    bias2, variance = bias_and_variance(predictions, TARGETS)
    assert variance.item() == pytest.approx(np.var(predictions.numpy(), axis=0).mean())
    assert (bias2 + variance).item() == pytest.approx((predictions - TARGETS).square().mean().item())
