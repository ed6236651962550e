import pytest

from ensembles.reports.schema import count, decimal, percent


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0, "0"),
        (0.5, "0.50"),
        (12.34, "12.3"),
        (640, "640"),
        (999.7, "1.00 k"),
        (12345.6, "12.3 k"),
        (999_999, "1.00 M"),
        (36_479_194, "36.5 M"),
        (480_900_000, "481 M"),
        (5.95e9, "5.95 G"),
    ],
)
def test_counts_have_three_digits(value, text):
    assert count(value) == text


def test_decimals_and_percentages():
    assert (percent(0.9412), percent(1.0), percent(None)) == ("94.1", "100.0", "-")
    assert (decimal(0.1234), decimal(5187.12), decimal(6e38), decimal(None)) == ("0.123", "5187.1", "6e+38", "-")
