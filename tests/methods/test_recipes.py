"""The recipe that the papers give for a method is what it gets by default."""

import pytest
from hydra import compose
from hydra.utils import instantiate

from ensembles.cli.composing import composing


def recipe(method, data, *overrides):
    with composing():
        return compose("train", [f"method={method}", "model=wrn28_10", f"data={data}", *overrides]).recipe


@pytest.mark.parametrize("data", ["cifar10", "cifar100"])
@pytest.mark.parametrize(
    ("method", "epochs", "milestones"),
    [("dropout", 200, (60, 120, 160)), ("naive_multihead", 250, (75, 150, 200)), ("treenet", 250, (75, 150, 200))],
)
def test_of_mimos_baselines(method, data, epochs, milestones):
    """MIMO, Appendix B: 512 examples a step, L2 2e-4; the decay stretched where there are more epochs."""
    found = recipe(method, data)
    assert (found.epochs, found.batch_size, found.optimizer.lr) == (epochs, 512, 0.4)
    assert found.optimizer.weight_decay == 2 * 2e-4
    factor = instantiate(found.schedule)
    before, after = ([round(factor(m + d, epochs), 9) for m in milestones] for d in (-0.01, 0))
    assert before == [1, 0.1, 0.01] and after == [0.1, 0.01, 0.001]


@pytest.mark.parametrize("name", ["sgd", "mimo_cifar", "mimo_cifar_baseline", "mimo_cifar_250", "pe_cifar"])
def test_every_recipe_has_the_penalties(name):
    found = recipe("mimo", "cifar10", f"recipe={name}", "recipe.l1=1e-5", "recipe.l2=1e-4", "recipe.decay_norms=false")
    assert (found.l1, found.l2, found.decay_norms) == (1e-5, 1e-4, False)
