"""BatchEnsemble, Masksembles and MixtureEnsembles as methods: what they train otherwise, and what members see."""

from functools import partial

import pytest
import torch

from ensembles.backbones import wrn
from ensembles.errors import UserError
from ensembles.methods import BatchEnsemble, Masksembles, Mixture
from ensembles.rng import generator
from ensembles.training.recipe import Recipe, cosine

BACKBONE = partial(wrn, 16, 1, 10, image_size=8)
SHAPE = (3, 8, 8)


def optimizer(method, **settings):
    sgd = partial(torch.optim.SGD, lr=0.2, weight_decay=0.01)
    recipe = Recipe(sgd, epochs=4, batch_size=8, schedule=cosine(), **settings)
    return recipe.optimizers(method.parameter_groups(), 4)


def rates_of(method, **settings):
    """Learning rate and weight decay of each parameter by its name."""
    names = {id(parameter): name for name, parameter in method.named_parameters()}
    groups = optimizer(method, **settings)["optimizer"].param_groups
    pairs = [(names[id(p)], (group["lr"], group["weight_decay"])) for group in groups for p in group["params"]]
    assert len(pairs) == len(dict(pairs)) == len(names)
    return dict(pairs)


def test_fast_weights_learn_at_half_the_rate_without_decay():
    for name, rates in rates_of(BatchEnsemble(BACKBONE, SHAPE)).items():
        assert rates == ((0.1, 0.0) if name.endswith((".r", ".s")) else (0.2, 0.01))
    assert (0.05, 0.0) in rates_of(BatchEnsemble(BACKBONE, SHAPE, fast_lr=0.25)).values()


def test_fast_weights_can_be_trained_like_all_others():
    method = BatchEnsemble(BACKBONE, SHAPE, fast_lr=1, decay_fast=True)
    assert set(rates_of(method).values()) == {(0.2, 0.01)}
    for name, rates in rates_of(method, decay_norms=False).items():
        kept = ".bn" in name or name.endswith("bias")
        assert rates[1] == (0.0 if kept else 0.01), name
    with pytest.raises(UserError, match=r"^method\.decay_fast is 'some', but must be true or false"):
        BatchEnsemble(BACKBONE, SHAPE, decay_fast="some")


def test_norms_and_the_members_biases_can_be_left_out_of_decay():
    for name, rates in rates_of(BatchEnsemble(BACKBONE, SHAPE), decay_norms=False).items():
        kept = ".fast." in name or ".bn" in name or name.endswith("bias")
        assert rates[1] == (0.0 if kept else 0.01), name


def test_the_schedule_keeps_the_fast_weights_factor():
    parts = optimizer(BatchEnsemble(BACKBONE, SHAPE))
    for _ in range(3):
        parts["optimizer"].step()
        parts["lr_scheduler"]["scheduler"].step()
        slow, fast, biases = (group["lr"] for group in parts["optimizer"].param_groups)
        assert fast == pytest.approx(slow / 2) and biases == slow < 0.2


def test_mixing_weights_get_no_decay():
    for name, rates in rates_of(Mixture(BACKBONE, SHAPE)).items():
        assert rates == ((0.2, 0.0) if name.endswith(".mixing") else (0.2, 0.01))


@pytest.mark.parametrize("method", [BatchEnsemble, Masksembles])
def test_members_see_the_batch_or_shares_of_it(method):
    whole = method(BACKBONE, SHAPE).deal.positions(12, generator(0))
    assert whole.tolist() == list(range(12))
    shares = method(BACKBONE, SHAPE, M=3, deal="shares").deal.positions(12, generator(0))
    assert shares.shape == (3, 4) and sorted(shares.flatten().tolist()) == list(range(12))
    with pytest.raises(UserError, match=r"8 examples to 3 members: set recipe\.batch_size to a multiple of 3"):
        method(BACKBONE, SHAPE, M=3, deal="shares").deal.positions(8, generator(0))
    with pytest.raises(UserError, match=r"method\.deal is 'half', but must be whole or shares"):
        method(BACKBONE, SHAPE, deal="half")


@pytest.mark.parametrize(("method", "factor"), [(BatchEnsemble, 1), (Masksembles, 1), (Mixture, 3)])
def test_loss_is_the_mean_over_members_or_the_sum(method, factor):
    module = method(BACKBONE, SHAPE, M=3)
    x, y = torch.randn(6, *SHAPE), torch.randint(10, (6,))
    logits = module(x)
    by_hand = torch.stack([torch.nn.functional.cross_entropy(own, y) for own in logits]).mean()
    torch.testing.assert_close(module.loss(logits, y), factor * by_hand)
