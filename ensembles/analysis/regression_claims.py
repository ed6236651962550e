"""What MIMO says of its synthetic regression (section 2.1), held against what was measured."""

from collections.abc import Mapping, Sequence

import torch

from ensembles.analysis.drawing import Line
from ensembles.analysis.training_sets import OverSets, resampled
from ensembles.data.synthetic_regression import SyntheticRegression, noisy
from ensembles.rng import generator

DRAWS = 400  # of the noise at each test point
CLAIMED = (("squared bias", 1), ("variance", -1), ("mean squared error", -1))  # where each goes with M


def claims(lines: Sequence[Line], found: Mapping[int, OverSets], data: SyntheticRegression) -> list[str]:
    """The findings, in plain sentences; ± is one standard deviation over resampled training sets."""
    Ms = sorted(found)
    sets = len(found[Ms[0]].last)
    said = [
        f"The ensemble over {sets} training sets: {name} {_numbers(found, i)}." for i, (name, _) in enumerate(CLAIMED)
    ]
    said += [f"From M = {Ms[0]} to M = {M}: {_changes(found[Ms[0]], found[M])}." for M in Ms[1:]]
    least = min(Ms, key=lambda M: found[M].ensemble[-1, 2])
    seconds = sum(float(of.seconds) for of in found.values())
    return [
        *said,
        f"The error is least at M = {least}.",
        f"Of every squared bias and error {noise(data):.3g} is noise of the test targets, which no network predicts.",
        f"A member alone: mean squared error {_numbers(found, 2, of='members')}, squared bias "
        f"{_numbers(found, 0, of='members')}.",
        "Mean squared error of the network of seed 0, among the others and in its own run by train.py, which differ by "
        f"rounding alone: {', '.join(_beside(line, found) for line in lines)}.",
        f"The {sets * len(Ms)} networks were trained together in {seconds:.0f} seconds.",
    ]


def noise(data: SyntheticRegression) -> float:
    """The mean squared deviation of the test targets from what is expected at their points: the least error."""
    x, targets = data.sets["test"].features, data.sets["test"].labels
    draws = data.noise * torch.randn(len(x), DRAWS, generator=generator("noise"))
    return (targets - noisy(x, draws).mean(1)).double().square().mean().item()


def _numbers(found: Mapping[int, OverSets], part: int, of: str = "ensemble") -> str:
    return ", ".join(f"{getattr(found[M], of)[-1, part]:#.3g} (M = {M})" for M in sorted(found))


def _changes(first: OverSets, other: OverSets) -> str:
    change = other.ensemble[-1] - first.ensemble[-1]
    sd = (resampled(other) - resampled(first)).std(0)  # of the same sets, so what they share cancels
    return ", ".join(
        f"{name} {change[i]:+.2g} ± {sd[i]:.1g} ({_verdict(change[i] * sign, sd[i].item())})"
        for i, (name, sign) in enumerate(CLAIMED)
    )


def _verdict(change: float, sd: float) -> str:
    if abs(change) < 2 * sd:
        return "within chance"
    return "as in the paper" if change > 0 else "against the paper"


def _beside(line: Line, found: Mapping[int, OverSets]) -> str:
    M = line.runs[0].config["method"]["M"]
    together = ((found[M].last[0].astype(float).mean(0) - found[M].targets) ** 2).mean()
    return f"{together:#.4g} and {line.results[0]['test/mse']:#.4g} (M = {M})"
