"""What every method must do, on several networks."""

import pytest
import torch

import ensembles
from ensembles import build, cost
from ensembles.backbones import small_cnn
from ensembles.cost import describe
from ensembles.errors import UserError
from ensembles.rng import generator
from ensembles.training.recipe import Recipe
from tests.methods.building import METHODS, about, built, config, images

# With these a method is one network, built as the backbone is.
ONE = {
    "deterministic": [],
    "dropout": ["method.rate=0"],
    "masksembles": ["method.M=1", "method.scale=1"],
    "packed": ["method.M=1", "method.alpha=1"],
}
REPARAMETERISED = {"batch_ensemble", "mixture"}  # even one member's weights are products or sums of what is stored

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
LARGEST = pytest.param("resnet18", marks=pytest.mark.slow)  # the WRN has all kinds of its layers but the stem
every_pair = pytest.mark.parametrize("model", ["small_cnn", "wrn", LARGEST])
every_method = pytest.mark.parametrize("method", METHODS)


@every_pair
@every_method
def test_members_logits(method, model):
    """Of shape (M, B, K), different from member to member, those of member(m), and those of each on the same input."""
    ensemble = built(method, model).ensemble.eval()
    x = images(3)
    logits = ensemble(x)
    assert logits.shape == (ensemble.M, 3, 10)
    for m in range(ensemble.M):
        torch.testing.assert_close(ensemble.member(m).eval()(x), logits[m], rtol=1e-4, atol=1e-5)
        assert all(not torch.allclose(logits[m], logits[other]) for other in range(m))
    torch.testing.assert_close(ensemble.each(x.expand(ensemble.M, *x.shape)), logits, rtol=1e-4, atol=1e-5)


@every_pair
@every_method
def test_checkpoint_round_trip(method, model, tmp_path):
    first, second = built(method, model), built(method, model, seed=1)
    first(images(4))  # in training mode: batch norms have seen something
    torch.save(first.state_dict(), tmp_path / "state.pt")
    second.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert torch.equal(first.eval()(images(3)), second.eval()(images(3)))


@every_pair
@every_method
def test_described_is_what_is_built(method, model):
    found = describe(config(method, model))
    ensemble = built(method, model).ensemble
    assert found["cost/params"] == cost.parameters(ensemble)
    assert sum(row["shared"] + found["members"] * row["own"] for row in found["sharing"]) == cost.parameters(ensemble)
    assert found["cost/mult_adds"] == cost.multiply_adds(ensemble, (1, 8, 8))
    assert found["cost/member_params"] == cost.parameters(ensemble.member(0))


@every_pair
@every_method
def test_training_lowers_the_loss(method, model):
    module = built(method, model).train()
    recipe = Recipe(lambda groups: torch.optim.Adam(groups, lr=0.01), 1, 8, lambda done, of: 1.0)
    optimizer = recipe.optimizers(module.parameter_groups(), 10)["optimizer"]
    x, y = images(8), torch.arange(8)
    losses = []
    for step in range(10):
        dealt = module.deal.positions(8, generator(0, step))
        loss = module.loss(module(x[dealt]), y[dealt])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-2:]) < 0.9 * sum(losses[:2])
    assert all(parameter.grad is not None for parameter in module.parameters())


@every_pair
@every_method
def test_one_member_is_the_backbone(method, model):
    given = about(method, model, *ONE.get(method, ["method.M=1"]))
    if method == "dropout":
        given["method"] = given["method"] | {"samples": 1}
    torch.manual_seed(3)
    ensemble = build.method(given).ensemble.eval()
    torch.manual_seed(3)
    backbone = build.backbone(given)().eval()
    if method in REPARAMETERISED:
        backbone.load_state_dict(ensemble.member(0).state_dict())
    assert ensemble.M == 1
    torch.testing.assert_close(ensemble(images(3))[0], backbone(images(3)))


@pytest.mark.parametrize("method", [method for method in METHODS if method not in ("deterministic", "dropout")])
def test_refuses_no_members(method):
    with pytest.raises(UserError, match="M is 0"):
        getattr(ensembles, method)(small_cnn(10), M=0)
