"""Which examples each subnetwork of MIMO sees."""

import pytest
import torch

from ensembles.methods import mimo
from ensembles.rng import generator


@pytest.mark.parametrize("rho", [0.0, 0.25, 0.6, 1.0])
def test_rho_is_the_share_of_positions_dealt_alike(rho):
    """Chance matches come on top: with all examples different, they are as rare as one in B."""
    B, M = 4000, 3
    positions = mimo.deal(M, rho, 1).positions(B, generator(0, "deal"))
    alike = (positions == positions[0]).all(dim=0).float().mean().item()
    assert alike == pytest.approx(rho, abs=3 / B)


def test_batch_repetition_repeats_each_example_in_every_member():
    positions = mimo.deal(3, 0.0, 4).positions(50, generator(0))
    assert positions.shape == (3, 200)
    for member in positions:
        assert torch.equal(torch.bincount(member), torch.full((50,), 4))


def test_members_are_shuffled_apart():
    positions = mimo.deal(3, 0.0, 1).positions(1000, generator(0))
    assert (positions[0] == positions[1]).float().mean() < 0.01
    assert (positions[1] == positions[2]).float().mean() < 0.01


def test_a_key_draws_the_same_and_another_key_does_not():
    deal = mimo.deal(2, 0.5, 2).positions
    assert torch.equal(deal(64, generator(0, "deal", 3, 7)), deal(64, generator(0, "deal", 3, 7)))
    assert not torch.equal(deal(64, generator(0, "deal", 3, 7)), deal(64, generator(0, "deal", 3, 8)))
