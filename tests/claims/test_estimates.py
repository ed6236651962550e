"""Differences, their intervals, and the seeds that would decide."""

import math

import numpy as np
import pytest
from scipy import stats

from ensembles.claims.evidence import Estimate

FIRST, SECOND = {0: 0.931, 1: 0.935, 2: 0.930}, {0: 0.925, 1: 0.921, 2: 0.927, 3: 0.924}


def test_two_rows_are_compared_as_welch_has_it():
    difference = Estimate.of(FIRST).minus(Estimate.of(SECOND))
    welch = stats.ttest_ind(list(FIRST.values()), list(SECOND.values()), equal_var=False).confidence_interval(0.95)
    assert difference.interval() == pytest.approx((welch.low, welch.high))


def test_numbers_of_the_same_runs_are_compared_seed_by_seed():
    difference = Estimate.of(FIRST).minus(Estimate.of(SECOND), paired=True)
    common = [seed for seed in FIRST if seed in SECOND]
    paired = stats.ttest_rel([FIRST[s] for s in common], [SECOND[s] for s in common]).confidence_interval(0.95)
    assert difference.interval() == pytest.approx((paired.low, paired.high))


def test_a_row_is_compared_with_a_stated_number():
    one = stats.ttest_1samp([value - 0.92 for value in FIRST.values()], 0).confidence_interval(0.95)
    assert Estimate.of(FIRST).minus(Estimate(0.92)).interval() == pytest.approx((one.low, one.high))


def test_a_factor_scales_the_interval():
    low, high = Estimate.of(FIRST).interval()
    assert Estimate.of(FIRST).times(100).interval() == pytest.approx((100 * low, 100 * high))


def test_one_seed_has_no_interval_and_a_count_an_exact_one():
    assert Estimate.of({0: 0.9}).minus(Estimate.of(SECOND)).interval() == (-math.inf, math.inf)
    assert Estimate(8.0).minus(Estimate(3.0)).interval() == (5.0, 5.0)


def test_the_seeds_that_decide_are_those_of_the_power_of_a_t_test():
    difference = Estimate(0.0, ((1.0, 2), (1.0, 2)))
    # Cohen's table: 17 in each group for d = 1, 26 for d = 0.8, each at a power of 0.8 and two-sided 5 %
    assert difference.seeds_to_tell(1.0) == 17
    assert difference.seeds_to_tell(0.8) == 26


def test_no_number_of_seeds_is_told_where_none_is_known():
    assert Estimate.of({0: 0.9}).seeds_to_tell(0.01) is None
    assert Estimate(0.0, ((1.0, 3), (1.0, 3))).seeds_to_tell(0.01) is None  # more than are worth it
    assert Estimate(0.0, ((1.0, 40), (1.0, 40))).seeds_to_tell(1.0) == 41  # more than there are


def test_more_seeds_do_not_help_where_there_are_too_few_images():
    """Images that differ by 1 from one another, the same for each seed: 100 of them leave an error of 0.1."""
    random = np.random.default_rng(1)
    of_image = random.normal(size=100)
    images = {seed: of_image + 0.01 * random.normal(size=100) for seed in range(3)}
    found = Estimate.of({seed: of.mean() for seed, of in images.items()}, images)
    low, high = found.interval()
    assert high - low == pytest.approx(2 * 1.96 * of_image.std() / 10, rel=0.1)
    assert found.seeds_to_tell(0.2) is None and found.seeds_to_tell(0.4) == 4
