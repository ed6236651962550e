"""Intervals and p-values against what is known in closed form."""

import numpy as np
import pytest

from ensembles.studies.bootstrap import RESAMPLES, difference, holm, mean, own_members


def normal(seeds, images, at=0.0, seed=1):
    return at + np.random.default_rng(seed).normal(size=(seeds, images))


def test_the_interval_of_one_seed_is_that_of_its_images():
    values = normal(1, 4000)
    found = mean(values)
    half = 1.96 * values.std() / 4000**0.5
    assert found.mean == pytest.approx(values.mean())
    assert found.low == pytest.approx(found.mean - half, abs=0.1 * half)
    assert found.high == pytest.approx(found.mean + half, abs=0.1 * half)


def test_seeds_that_differ_widen_it():
    """Two seeds that are 0 and 1 everywhere: resampled, their mean is 0, 1/2 or 1."""
    values = np.repeat([[0.0], [1.0]], 50, axis=1)
    found = mean(values)
    assert (found.mean, found.low, found.high) == (0.5, 0, 1)


def test_a_difference_is_paired():
    """What both rows share of each image cancels."""
    hard = normal(2, 2000, seed=2) * 10
    found = difference(hard + 0.1 + 0.01 * normal(2, 2000, seed=3), hard)
    assert found.low < 0.1 < found.high and found.high - found.low < 0.01
    assert found.p == 2 / RESAMPLES


def test_no_difference_has_no_small_p():
    same = normal(3, 500)
    assert difference(same, same).p == 1
    p = [difference(normal(1, 300, seed=s), normal(1, 300, seed=s + 100)).p for s in range(20)]
    assert sum(one < 0.1 for one in p) <= 6 and max(p) > 0.5


def test_holm_s_correction():
    """Sorted 0.01, 0.02, 0.03, 0.04 of four: times 4, 3, 2 and 1, and never below the one before."""
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.9, 0.6]).tolist() == [1, 1]


def test_an_ensemble_has_the_networks_of_its_own_seeds():
    assert own_members([0, 1], 4) == {}
    assert own_members([6, 0, 1, 3, 2, 5], 2) == {0: range(0, 2), 1: range(2, 4)}
