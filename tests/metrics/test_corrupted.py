from itertools import product

import pytest

from ensembles.data.corruptions import EXTRA, SEVERITIES, STANDARD
from ensembles.metrics.shift import ALEXNET, average_cells, mean_corruption_error


def cells(types=STANDARD, severities=SEVERITIES):
    each = enumerate(product(types, severities))
    return {cell: {"acc": (i % 17) / 17, "nll": 0.1 * i, "ece": (i % 5) / 10} for i, cell in each}


def test_the_standard_types_are_those_of_the_corruptions():
    assert tuple(ALEXNET) == STANDARD


def test_means_are_over_the_standard_types_and_the_extra_ones_apart():
    standard, extra = cells(), cells(EXTRA)
    found = average_cells(standard | extra)
    for prefix, some in (("corrupted", standard), ("corrupted_extra", extra)):
        assert found[f"{prefix}/cells"] == len(some)
        for name in ("acc", "nll", "ece"):
            assert found[f"{prefix}/{name}"] == pytest.approx(sum(cell[name] for cell in some.values()) / len(some))
    assert {key: found[key] for key in found if key.startswith("corrupted/")} == average_cells(standard)


def test_what_there_is_is_averaged_and_counted():
    assert average_cells({}) == {}
    assert not [key for key in average_cells(cells(EXTRA)) if key.startswith("corrupted/")]
    found = average_cells(cells(["fog", "snow"], [1, 5]))
    assert (found["corrupted/cells"], found["corrupted/nll"]) == (4, pytest.approx(0.15))


def test_mce_of_alexnet_is_1_and_of_half_its_errors_half():
    """Each severity differs; only their mean is AlexNet's."""
    for share in (1.0, 0.5):
        like = {
            (type, severity): {"acc": 1 - share * ALEXNET[type] * (0.4 + 0.2 * severity)}
            for type, severity in product(STANDARD, SEVERITIES)
        }
        assert mean_corruption_error(like) == pytest.approx(share)


def test_mce_weighs_a_type_by_what_alexnet_can_do_on_it():
    like = {cell: {"acc": 1.0} for cell in product(STANDARD, SEVERITIES)}
    like |= {("brightness", severity): {"acc": 0.435} for severity in SEVERITIES}  # an error of 56.5 %, AlexNet's
    assert mean_corruption_error(like) == pytest.approx(1 / 15)


def test_mce_needs_every_cell_of_the_standard_types():
    complete = cells() | cells(EXTRA)
    assert mean_corruption_error(complete) == mean_corruption_error(cells()) is not None
    del complete["frost", 3]
    assert mean_corruption_error(complete) is None
