"""Whether the papers' claims hold by the results that are there."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ensembles.claims.evidence import Estimate, Missing, Source, sources
from ensembles.claims.schema import Claim, Comparison, Evidence, Quantity

HOLDS, FAILS, UNDECIDED, UNTESTED = OUTCOMES = ("holds", "does not hold", "undecided", "not tested")


@dataclass(frozen=True)
class Judged:
    """A comparison, or several together.

    Attributes:
        outcome: one of `OUTCOMES`.
        why: the numbers, or what is missing.
        scale, group: in which setting.
        seeds: of each row, that would decide what is undecided; None where that is not known.
    """

    outcome: str
    why: str
    scale: str = ""
    seeds: int | None = None
    group: str = ""


def judge(claim: Claim, folders: Sequence[Path]) -> list[Judged]:
    """The verdicts on a claim in each setting with results, the one that counts first: a decided one before others, and
    of those the one that comes first in the claim's file."""
    found = [on(evidence, source) for evidence in claim.evidence for source in sources(evidence, folders)]
    ranks = {HOLDS: 0, FAILS: 0, UNDECIDED: 1, UNTESTED: 2}
    return sorted(found, key=lambda one: ranks[one.outcome])


def on(evidence: Evidence, source: Source) -> Judged:
    """The verdict on one piece of evidence: all of its tests must hold, and one that fails is enough to fail."""
    judged = []
    for test in evidence.tests:
        try:
            of, than = (source.estimate(part) for part in (test.of, test.than))
            judged.append(compare(test, of, than))
        except Missing as missing:
            judged.append(Judged(UNTESTED, str(missing)))
    for outcome in (FAILS, UNTESTED, UNDECIDED, HOLDS):
        those = [one for one in judged if one.outcome == outcome]
        if those:
            shown = judged if outcome == HOLDS else those
            needed = [one.seeds for one in those]
            seeds = None if None in needed else max(needed)
            return Judged(
                outcome, "; ".join(dict.fromkeys(one.why for one in shown)), source.scale, seeds, source.group
            )
    raise AssertionError("a piece of evidence has a test")


def compare(test: Comparison, of: Estimate, than: Estimate) -> Judged:
    """The verdict on a comparison, by the interval of the difference.

    A difference holds if the interval is on the right side of zero, and fails if it leaves out all differences of
    interest; "no worse" and "equal" hold if it leaves out those of interest, and fail if it has no others.
    """
    delta = test.delta(than.mean)
    difference = of.minus(than, paired=test.of.row is not None and test.of.row == test.than.row)
    sign = -1 if test.expect in ("lower", "at_most") else 1
    d = difference.times(sign)
    low, high = d.interval()
    if test.expect == "equal":
        holds, fails = -delta <= low and high <= delta, low > delta or high < -delta
        distance = abs(delta - abs(d.mean))
    elif test.expect in ("higher", "lower"):
        fails = high < delta
        holds = low > 0 and not fails
        distance = max(abs(d.mean), abs(d.mean - delta))
    else:
        holds, fails = low >= -delta, high < -delta
        distance = abs(d.mean + delta)
    outcome = HOLDS if holds else FAILS if fails else UNDECIDED
    seeds = difference.seeds_to_tell(distance) if outcome == UNDECIDED else None
    return Judged(outcome, _told(test, of, than, difference, delta), seeds=seeds)


def _told(test: Comparison, of: Estimate, than: Estimate, difference: Estimate, delta: float) -> str:
    """The comparison with its numbers."""
    low, high = difference.interval()
    if not difference.parts:
        spread = ""
    elif math.isinf(low):
        spread = " (one seed, so no interval)"
    else:
        counts = sorted({n for _, n in difference.parts})
        images = f" and {len(next(iter(difference.images.values()))):,} images" if difference.images else ""
        spread = f" [{_signed(low)}, {_signed(high)}] over {' and '.join(map(str, counts))} seeds{images}"
    metric = test.of.metric or test.of.value
    about = f"{metric}: " if metric else ""
    wanted = f"{test.expect.replace('_', ' ')} by {number(delta)}"
    if test.expect in ("at_least", "at_most", "equal"):
        wanted = f"{test.expect.replace('_', ' ')} within {number(delta)}"
    return (
        f"{about}{name(test.of)} {number(of.mean)}, {name(test.than)} {number(than.mean)}, "
        f"difference {_signed(difference.mean)}{spread}, expected {wanted}"
    )


def name(wanted: Quantity) -> str:
    """What a number is of, in short."""
    if wanted.number is not None:
        return "the stated"
    if wanted.called is not None:
        said = wanted.called
    elif wanted.where is not None:
        said = ", ".join(f"{key} = {value}" for key, value in wanted.where.items())
    elif wanted.config is not None:
        said = " ".join(word.removeprefix("method=").removeprefix("model=") for word in wanted.config)
    else:
        said = str(wanted.row)
    said += " (best)" if wanted.take == "max" else ""
    said = f"({said} less {name(wanted.less)})" if wanted.less else said
    return f"{number(wanted.times)} x {said}" if wanted.times != 1 else said


def number(value: float) -> str:
    """With four digits, or all of a count."""
    if value == int(value) and abs(value) >= 1000:
        return f"{int(value):,}"
    return f"{value:.4g}" if abs(value) < 1e6 else f"{value:,.0f}"


def _signed(value: float) -> str:
    return f"{'-' if value < 0 else '+'}{number(abs(float(f'{value:.3g}')))}"


def told(one: Judged) -> str:
    """A verdict in a sentence."""
    text = f"{one.outcome}: {one.why}"
    if one.outcome == UNDECIDED:
        text += f"; {one.seeds} seeds a row would decide it" if one.seeds else f"; {_unknown(one)}"
    return text


def _unknown(one: Judged) -> str:
    """Why there is no number of seeds."""
    if "one seed" in one.why:
        return "at least a second seed is needed to say how many would decide it"
    return "more than 100 seeds a row would be needed"
