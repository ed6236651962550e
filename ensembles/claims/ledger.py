"""The ledger of the papers' claims: the verdict on each, by what, and the commands that would decide the others."""

import json
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter

from ensembles.claims.evidence import COUNTING, OURS, SEEDS, Estimate, Missing, Source, sources, study_runs
from ensembles.claims.schema import CIFAR10, COST, TIMED, Claim, Claims, Comparison, Evidence, Quantity, is_row, table
from ensembles.errors import UserError
from ensembles.files import load_text
from ensembles.papers.scales import STUDY
from ensembles.reports.collected import CollectedRun
from ensembles.reproduction.work import GPU, duration, hours, needs

HOLDS, FAILS, UNDECIDED, UNTESTED = OUTCOMES = ("holds", "does not hold", "undecided", "not tested")
GPU_HOURS = 0.2  # from which on a CPU takes days
LEDGER = "claims.json"
OWN_ERRORS = "the figure's own standard errors"
MOST = 8  # rows that a command names
FEWEST_SEEDS = 3  # of a row that has none
RULES = """\
Written by `python scripts/claims.py`; the claims and what decides each stand in `ensembles/papers/<paper>/claims.yaml`.

- *Higher* and *lower* hold where the 95 % interval of the difference lies on that side of zero, and do not where it
  leaves out every difference of interest. *At least*, *at most* and *equal* (no worse, as good) hold where it lies
  within the margin, and do not where it lies outside. Otherwise a claim is undecided, and told are the seeds a row that
  would decide it with a probability of 80 % if difference and spread stay what they are. A claim of several comparisons
  holds if all do.
- On CIFAR-10 with a small network, differences of accuracy and of negative log-likelihood are taken image by image and
  seed by seed, and their intervals are of a bootstrap over test images with seeds as blocks. Other intervals are over
  seeds: Welch's for two rows, seed by seed for two numbers of the same runs. With two or three seeds they are wide or,
  by the bootstrap, of few blocks. They are not corrected for the number of claims: where the truth lies on a border,
  chance puts one in forty on its wrong side. Of what a stopwatch measured they are over its rounds. A deep ensemble is
  compared with the mean of its own four members.
- What is counted, and what a figure draws of one network, has no interval: there the margin alone decides.
- Printed means are over the seeds that both rows have, where a difference is taken by seed.
- In that study corrupted images are 1,000 test images, a hundred of each class, with this package's corruptions, the
  same for all rows; out of distribution are scikit-learn's digits and pieces of its two photographs. They are not
  CIFAR-10-C and SVHN.
- A verdict is of its setting: that of the paper, or all of CIFAR-10 with the small network of `{study}`. A claim's
  first line is what counts. Where it is not decided, the commands are of both settings, with hours on {gpu} at an
  assumed {speed:,.0f} G multiply-adds a second, and on the CPUs on which the study's runs were made.
"""


@dataclass(frozen=True)
class Judged:
    """The verdict on a comparison, or on several together.

    Attributes:
        outcome: one of `OUTCOMES`.
        why: the numbers, or what is missing.
        scale, group: in which setting.
        seeds: of each row, that would decide what is undecided; None where that is not known.
        over: what the interval is over: seeds, rounds of timing, or `OWN_ERRORS`.
        is_single: whether a row has one seed, so that there is no interval.
    """

    outcome: str
    why: str
    scale: str = ""
    seeds: int | None = None
    group: str = ""
    over: str = SEEDS
    is_single: bool = False

    @property
    def sentence(self) -> str:
        text = f"{self.outcome}: {self.why}"
        if self.outcome != UNDECIDED or self.over != SEEDS:
            return text
        if self.seeds:
            return f"{text}; {self.seeds} seeds a row would decide it"
        if self.is_single:
            return f"{text}; at least a second seed is needed to say how many would decide it"
        return f"{text}; more than 100 seeds a row would be needed"


def judge(claim: Claim, folders: Sequence[Path]) -> list[Judged]:
    """Judge a claim in each setting with results, the one that counts first: a decided one before others, and of those
    the one that comes first in the claim's file."""
    found = [_on(evidence, source) for evidence in claim.evidence for source in sources(evidence, folders)]
    ranks = {HOLDS: 0, FAILS: 0, UNDECIDED: 1, UNTESTED: 2}
    return sorted(found, key=lambda one: ranks[one.outcome])


def _on(evidence: Evidence, source: Source) -> Judged:
    """Judge one piece of evidence: all of its tests must hold, and one that fails is enough to fail."""
    judged = []
    for test in evidence.tests:
        try:
            judged.append(compare(test, *source.sides(test)))
        except Missing as missing:
            judged.append(Judged(UNTESTED, str(missing)))
    outcomes = {one.outcome for one in judged}
    outcome = next(one for one in (FAILS, UNTESTED, UNDECIDED, HOLDS) if one in outcomes)
    those = [one for one in judged if one.outcome == outcome]
    needed = [one.seeds for one in those]
    why = "; ".join(dict.fromkeys(one.why for one in those))
    hold = sum(one.outcome == HOLDS for one in judged)
    if outcome in (FAILS, UNDECIDED) and hold:
        why = f"{hold} of {len(judged)} comparisons hold, but {why}"
    seeds = None if None in needed else max(needed)
    over = next((one.over for one in those if one.over != SEEDS), SEEDS)
    return Judged(outcome, why, source.scale, seeds, source.group, over, any(one.is_single for one in those))


def compare(test: Comparison, of: Estimate, than: Estimate) -> Judged:
    """Judge a comparison, by the interval of the difference.

    A difference holds if the interval is on the right side of zero, and fails if it leaves out all differences of
    interest; "no worse" and "equal" hold if it leaves out those of interest, and fail if it has no others.
    """
    same_runs = test.of.row is not None and test.of.row == test.than.row
    of, than = of.seeds_in_common(than, same_runs)
    delta, difference = test.delta(than.mean), of.minus(than, same_runs)
    interval = difference.interval()
    is_upside_down = test.expect in ("lower", "at_most")
    low, high = (-interval[1], -interval[0]) if is_upside_down else interval
    mean = -difference.mean if is_upside_down else difference.mean
    if test.expect == "equal":
        holds, fails = -delta <= low and high <= delta, low > delta or high < -delta
        distance = abs(delta - abs(mean))
    elif test.expect in ("higher", "lower"):
        fails = high < delta
        holds = low > 0 and not fails
        distance = max(abs(mean), abs(mean - delta))
    else:
        holds, fails = low >= -delta, high < -delta
        distance = abs(mean + delta)
    outcome = HOLDS if holds else FAILS if fails else UNDECIDED
    seeds = difference.seeds_needed(distance) if outcome == UNDECIDED else None
    metric = test.of.metric or test.of.value
    expected = f"{test.expect.replace('_', ' ')} {'by' if test.expect in ('higher', 'lower') else 'within'}"
    why = (
        f"{f'{metric}: ' if metric else ''}{_name(test.of)} {_number(of.mean)}, {_name(test.than)} "
        f"{_number(than.mean)}, difference {_signed(difference.mean)}{_spread(difference, *interval)}, "
        f"expected {expected} {_number(delta)}"
    )
    over = OWN_ERRORS if difference.error and not difference.parts else difference.over
    return Judged(outcome, why, seeds=seeds, over=over, is_single=difference.is_single)


def _spread(difference: Estimate, low: float, high: float) -> str:
    """Write a difference's interval, and over what it is."""
    if not difference.parts:
        return f" [{_signed(low)}, {_signed(high)}] by {OWN_ERRORS}" if difference.error else ""
    if difference.is_single:
        return f" (one {difference.over.removesuffix('s')}, so no interval)"
    counts = " and ".join(map(str, sorted({n for _, n in difference.parts})))
    images = f" and {len(next(iter(difference.images.values()))):,} images" if difference.images else ""
    return f" [{_signed(low)}, {_signed(high)}] over {counts} {difference.over}{images}"


def _name(wanted: Quantity) -> str:
    """Say what a number is of, in short."""
    if wanted.number is not None:
        return "compared with"
    if wanted.called is not None:
        said = wanted.called
    elif wanted.where is not None:
        said = ", ".join(f"{key} = {value}" for key, value in wanted.where.items())
    elif wanted.config is not None:
        said = " ".join(word.removeprefix("method=").removeprefix("model=") for word in wanted.config)
    else:
        said = str(wanted.row)
    said += " (best)" if wanted.take == "max" else ""
    said = f"({said} less {_name(wanted.less)})" if wanted.less else said
    return f"{_number(wanted.times)} x {said}" if wanted.times != 1 else said


def _number(value: float) -> str:
    """Write a number with four digits, or all of a count."""
    if value == int(value) and abs(value) >= 1000:
        return f"{int(value):,}"
    return f"{value:.4g}" if abs(value) < 1e6 else f"{value:,.0f}"


def _signed(value: float) -> str:
    return f"{'-' if value < 0 else '+'}{_number(abs(float(f'{value:.3g}')))}"


@dataclass(frozen=True)
class Entry:
    """A claim with the verdicts on it.

    Attributes:
        id, claim, where: in the paper.
        outcome: one of `OUTCOMES`.
        group: of settings, to be counted by; empty where nothing is judged.
        by: setting and sentence of each verdict, the one that counts first.
        commands: that would decide what is not decided, with hours and needs.
        checked: what was looked at, or what limits the verdict.
    """

    id: str
    claim: str
    where: str
    outcome: str
    group: str
    by: list[tuple[str, str]]
    commands: list[str]
    checked: str

    @classmethod
    def of(cls, claim: Claim, verdicts: Sequence[Judged], runs: Mapping[str, Mapping[int, CollectedRun]]) -> "Entry":
        first = verdicts[0] if verdicts else Judged(UNTESTED, "")
        by = [(one.scale, one.sentence) for one in verdicts if one.outcome != UNTESTED]
        commands = []
        if first.outcome not in (HOLDS, FAILS):
            if first.outcome == UNTESTED and first.why:
                by.append((first.scale, first.why))
            paper = "" if first.over == OWN_ERRORS else _paper_command(claim)  # it would draw the same once more
            commands = list(filter(None, [paper, _study_command(claim, verdicts, runs)]))
            if paper and all(evidence.source not in (CIFAR10, COST) for evidence in claim.evidence):
                commands = [f"needs the paper's setting: {paper}"]
        said, checked = (" ".join(text.split()) for text in (claim.claim, claim.checked or ""))
        return cls(claim.id, said, claim.where, first.outcome, first.group, by, commands, checked)


@dataclass(frozen=True)
class PaperEntries:
    """A paper's part of the ledger."""

    cites: str
    entries: list[Entry]


Ledger = dict[str, PaperEntries]


def ledger(claims: Mapping[str, Claims], folders: Sequence[Path]) -> Ledger:
    """Judge all claims, by paper."""
    runs = study_runs(folders)
    return {
        paper: PaperEntries(of.paper, [Entry.of(claim, judge(claim, folders), runs) for claim in of.claims])
        for paper, of in claims.items()
    }


def as_json(found: Ledger) -> str:
    """Write the ledger as plain data, for a page."""
    return json.dumps({paper: asdict(of) for paper, of in found.items()}, indent=1, ensure_ascii=False) + "\n"


def load_ledger(path: Path) -> Ledger:
    """Read what `as_json` wrote.

    Raises:
        UserError: a file that is none.
    """
    try:
        return TypeAdapter(Ledger).validate_json(load_text(path))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is no ledger: python scripts/claims.py writes it anew.") from error


def _study_command(claim: Claim, verdicts: Sequence[Judged], runs: Mapping[str, Mapping[int, CollectedRun]]) -> str:
    """Say what measures the claim with the small network on CIFAR-10, how long that takes, and on what."""
    evidence = [one for one in claim.evidence if one.source == CIFAR10]
    if not evidence:
        return ""
    if all(test.of.metric in TIMED for one in evidence for test in one.tests):
        return f"`python scripts/study.py {STUDY.as_posix()} --times 15` (minutes of a quiet CPU)"
    rows = list(dict.fromkeys(row for one in evidence for row in one.rows))
    undecided = [one for one in verdicts if one.group == OURS and one.outcome == UNDECIDED]
    if undecided and undecided[0].seeds is None and not undecided[0].is_single:
        return ""
    seeds = max([FEWEST_SEEDS, *(one.seeds or 0 for one in undecided)])
    times = {row: [sum(s or 0 for s in run.seconds.values()) for run in runs.get(row, {}).values()] for row in rows}
    known = [time for of in times.values() for time in of]
    words = f"python scripts/study.py {STUDY.as_posix()} --rows {','.join(rows)} --seeds {seeds}"
    if not known:
        return f"`{words}` (needs a CPU, cifar10)"
    lacking = (max(0, seeds - len(of)) * statistics.fmean(of or known) for of in times.values())
    return f"`{words}` ({duration(sum(lacking) / 3600)} of a CPU; needs cifar10)"


def _paper_command(claim: Claim) -> str:
    """Say what measures the claim in the paper's setting, how long that takes, and on what."""
    for evidence in claim.evidence:
        if evidence.source in (CIFAR10, COST):
            continue
        of = table(evidence.source)
        rows = [row for row in of.rows if any(is_row(name, row.name) for name in evidence.rows)]
        if not rows or len(rows) > MOST:
            rows = list(of.rows)
        only = [f"--only {row.number}" for row in rows] if len(rows) < len(of.rows) else []
        words = " ".join([f"python scripts/reproduce.py {of.name}", *only])
        if not of.rows:
            return f"`{words}` (minutes on a CPU)"
        chosen = replace(of, rows=tuple(rows))
        time = hours(chosen, of.seeds, GPU)
        machine = "a CPU" if time is not None and time < GPU_HOURS else "a GPU"
        return f"`{words}` ({duration(time)} of a GPU; needs {machine}, {', '.join(needs(chosen))})"
    return ""


def counts(entries: Iterable[Entry]) -> list[str]:
    """Count each outcome."""
    found = Counter(entry.outcome for entry in entries)
    return [str(found[outcome]) for outcome in OUTCOMES]


def markdown(found: Ledger) -> str:
    """Write the ledger as a page."""
    everything = [entry for of in found.values() for entry in of.entries]
    lines = ["# Which of the papers' claims hold", "", f"| | claims | {' | '.join(OUTCOMES)} |"]
    lines.append(f"| --- |{' ---: |' * (1 + len(OUTCOMES))}")
    for paper, entries in {**{paper: of.entries for paper, of in found.items()}, "all": everything}.items():
        lines.append(f"| {paper} | {len(entries)} | {' | '.join(counts(entries))} |")
    by = Counter((entry.group, entry.outcome) for entry in everything if entry.outcome in (HOLDS, FAILS))
    groups = Counter(group for group, _ in by.elements())
    lines += ["", f"| decided by | {HOLDS} | {FAILS} |", "| --- | ---: | ---: |"]
    lines += [f"| {group} | {by[group, HOLDS]} | {by[group, FAILS]} |" for group, _ in groups.most_common()]
    rules = RULES.format(gpu=GPU.machine, speed=GPU.multiply_adds / 1e9, study=STUDY.as_posix())
    lines += ["", rules]
    lines += ["## Decided by trained networks", "", "| | claim | verdict | by |", "| --- | --- | --- | --- |"]
    for paper, of in found.items():
        trained = (one for one in of.entries if one.outcome in (HOLDS, FAILS) and one.group != COUNTING)
        lines += [_line(f"{paper}: {one.id}", one.claim, one.outcome, one.group) for one in trained]
    lines += [""]
    for paper, of in found.items():
        lines += [f"## {paper}", "", of.cites, "", "| claim | where | verdict | by |", "| --- | --- | --- | --- |"]
        for entry in of.entries:
            said = "<br>".join(f"*{scale}*: {said}" if scale else said for scale, said in entry.by)
            lines.append(
                _line(f"**{entry.id}**: {entry.claim}", entry.where, entry.outcome, said or "needs the paper's setting")
            )
        checked: dict[str, list[str]] = {}  # some claims have one note
        for entry in of.entries:
            if entry.checked and entry.outcome != UNTESTED:
                checked.setdefault(entry.checked, []).append(f"**{entry.id}**")
        if checked:
            lines += ["", "What was checked:", "", *(f"- {', '.join(ids)}: {note}" for note, ids in checked.items())]
        if any(entry.commands for entry in of.entries):
            lines += ["", "What would decide the others:", ""]
            lines += [f"- **{one.id}**: {' or '.join(one.commands)}" for one in of.entries if one.commands]
        lines += [""]
    return "\n".join(lines).rstrip() + "\n"


def _line(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
