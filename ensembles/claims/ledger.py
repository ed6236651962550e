"""The ledger of the papers' claims: the verdict on each, by what, and the commands that would decide the others."""

import json
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from ensembles.claims.evidence import OURS, study_runs
from ensembles.claims.schema import CIFAR10, COST, TIMED, Claim, Claims, Evidence, is_row, table
from ensembles.claims.verdicts import FAILS, HOLDS, OUTCOMES, UNDECIDED, UNTESTED, Judged, judge, told
from ensembles.errors import UserError
from ensembles.papers import Table
from ensembles.papers.scales import STUDY
from ensembles.reports.collected import CollectedRun
from ensembles.reproduction import work
from ensembles.reproduction.work import ASSUMED, GPU, duration, needs

GPU_HOURS = 0.2  # from which on a CPU takes days
LEDGER = "claims.json"
MOST = 8  # rows that a command names
SEEDS = 3  # of a row that has none
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
  by the bootstrap, of few blocks. They are not corrected for the number of claims: of a hundred, five are wrong by
  chance.
- What is counted, and what a figure draws of one network, has no interval: there the margin alone decides.
- A verdict is of its setting: that of the paper, or all of CIFAR-10 with the small network of `{study}`. A claim's
  first line is what counts. Where it is not decided, the commands are of both settings, with hours on {gpu} at an
  assumed {speed:,.0f} G multiply-adds a second, and on the CPUs on which the study's runs were made.
"""


@dataclass(frozen=True)
class Entry:
    """A claim with the verdicts on it.

    Attributes:
        id, claim, where: in the paper.
        outcome: one of `OUTCOMES`.
        group: of settings, to be counted by; empty where nothing is judged.
        by: setting and sentence of each verdict, the one that counts first.
        commands: that would decide what is not decided, with hours and needs.
        checked: what was looked at of a claim that does not hold.
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
        by = [(one.scale, told(one)) for one in verdicts if one.outcome != UNTESTED]
        commands = []
        if first.outcome not in (HOLDS, FAILS):
            if first.outcome == UNTESTED and first.why:
                by.append((first.scale, first.why))
            commands = list(filter(None, [command(claim), study_command(claim, verdicts, runs)]))
            if all(evidence.source not in (CIFAR10, COST) for evidence in claim.evidence):
                commands = [f"{STUDY.as_posix()} cannot decide it: {commands[0]}"]
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
    """The ledger as plain data, for a page."""
    return json.dumps({paper: asdict(of) for paper, of in found.items()}, indent=1, ensure_ascii=False) + "\n"


def load_ledger(path: Path) -> Ledger:
    """Read what `as_json` wrote.

    Raises:
        UserError: a file that is none.
    """
    try:
        return TypeAdapter(Ledger).validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValidationError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is no ledger: python scripts/claims.py writes it anew.") from error


def study_command(claim: Claim, verdicts: Sequence[Judged], runs: Mapping[str, Mapping[int, CollectedRun]]) -> str:
    """What measures the claim with the small network on CIFAR-10, how long that takes, and on what."""
    evidence = [one for one in claim.evidence if one.source == CIFAR10]
    if not evidence:
        return ""
    if all(test.of.metric in TIMED for one in evidence for test in one.tests):
        return f"`python scripts/study.py {STUDY.as_posix()} --times 15` (minutes of a quiet CPU)"
    rows = list(dict.fromkeys(row for one in evidence for row in rows_of(one)))
    undecided = [one for one in verdicts if one.group == OURS and one.outcome == UNDECIDED]
    if undecided and undecided[0].seeds is None and "one seed" not in undecided[0].why:
        return ""
    seeds = max([SEEDS, *(one.seeds or 0 for one in undecided)])
    times = {row: [sum(s or 0 for s in run.seconds.values()) for run in runs.get(row, {}).values()] for row in rows}
    known = [time for of in times.values() for time in of]
    words = f"python scripts/study.py {STUDY.as_posix()} --rows {','.join(rows)} --seeds {seeds}"
    if not known:
        return f"`{words}` (needs a CPU, cifar10)"
    lacking = (max(0, seeds - len(of)) * statistics.fmean(of or known) for of in times.values())
    return f"`{words}` ({duration(sum(lacking) / 3600)} of a CPU; needs cifar10)"


def command(claim: Claim) -> str:
    """What measures the claim in the paper's setting, how long that takes, and on what."""
    for evidence in claim.evidence:
        if evidence.source in (CIFAR10, COST):
            continue
        wanted = rows_of(evidence)
        of = table(evidence.source)
        rows = [row for row in of.rows if any(is_row(name, row.name) for name in wanted)]
        if not rows or len(rows) > MOST:
            rows = list(of.rows)
        only = [f"--only {row.number}" for row in rows] if len(rows) < len(of.rows) else []
        words = " ".join([f"python scripts/reproduce.py {of.name}", *only])
        if not of.rows:
            return f"`{words}` (minutes on a CPU)"
        hours = _hours(of, {row.number for row in rows})
        machine = "a CPU" if hours is not None and hours < GPU_HOURS else "a GPU"
        data = ", ".join(needs(replace(of, rows=tuple(rows))))
        return f"`{words}` ({duration(hours)} of a GPU; needs {machine}, {data})"
    return ""


def rows_of(evidence: Evidence) -> list[str]:
    """The rows and patterns that the evidence names."""
    parts = (part for test in evidence.tests for part in (*test.of.parts(), *test.than.parts()))
    return list(dict.fromkeys(part.row for part in parts if part.row))


def _hours(of: Table, rows: set[int]) -> float | None:
    """Of these rows with all their seeds, on the assumed GPU."""
    found = work.counts().get(of.slug, [])
    if len(found) != len(of.rows):
        return None
    chosen = [one for row, one in zip(of.rows, found, strict=True) if row.number in rows]
    return of.seeds * sum(one.hours(ASSUMED) for one in chosen)


def counts(entries: Iterable[Entry]) -> str:
    """The number of each outcome, as the cells of a table."""
    found = Counter(entry.outcome for entry in entries)
    return " | ".join(str(found[outcome]) for outcome in OUTCOMES)


def decided(entries: Iterable[Entry]) -> str:
    """By what the decided ones are decided, in a sentence."""
    found = Counter(entry.group for entry in entries if entry.outcome in (HOLDS, FAILS))
    return (
        f"Decided by {', '.join(f'{group}: {n}' for group, n in found.most_common())}." if found else "None is decided."
    )


def markdown(found: Ledger) -> str:
    """The ledger as a page."""
    lines = ["# Which of the papers' claims hold", ""]
    lines += [f"| | claims | {' | '.join(OUTCOMES)} |", "| --- | ---: | ---: | ---: | ---: | ---: |"]
    everything = [entry for of in found.values() for entry in of.entries]
    for paper, entries in {**{paper: of.entries for paper, of in found.items()}, "all": everything}.items():
        lines.append(f"| {paper} | {len(entries)} | {counts(entries)} |")
    lines += ["", decided(everything), "", rules()]
    for paper, of in found.items():
        lines += [f"## {paper}", "", of.cites, "", "| claim | where | verdict | by |", "| --- | --- | --- | --- |"]
        lines += [_row(entry) for entry in of.entries]
        checked = [entry for entry in of.entries if entry.checked and entry.outcome == FAILS]
        if checked:
            lines += ["", "What was checked of those that do not hold:", ""]
            lines += [f"- **{entry.id}**: {entry.checked}" for entry in checked]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def rules() -> str:
    """How claims are judged, as the items of a list."""
    return RULES.format(gpu=GPU, speed=ASSUMED.multiply_adds / 1e9, study=STUDY.as_posix())


def _row(entry: Entry) -> str:
    by = [f"*{scale}*: {said}" if scale else said for scale, said in entry.by]
    cells = [
        f"**{entry.id}**: {entry.claim}",
        entry.where,
        entry.outcome,
        "<br>".join([*by, *filter(None, [" or ".join(entry.commands)])]),
    ]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
