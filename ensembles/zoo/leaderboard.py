"""A leaderboard: cards and collected runs side by side, as a self-contained page and as Markdown. Imports no torch."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean, stdev

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ensembles import reports
from ensembles.errors import UserError
from ensembles.files import load_json
from ensembles.reports.runs_table import gather
from ensembles.reports.schema import MISSING, best_shown, column, number
from ensembles.zoo.card import CARD, Card, markdown_cell

ABOUT = (
    "Each row is a run, or the mean ± standard deviation over seeds; the best of a column is bold. Verified: somebody "
    "has evaluated the weights again and found these digits. Reported: nobody has yet. Written by `ensembles "
    "leaderboard`."
)
ROWS = "leaderboard"  # the name of a folder of rows alone

COLUMNS = (
    *("test/acc", "test/rmse", "test/nll", "test/ece", "corrupted/acc", "corrupted/ece"),
    *("cost/params", "cost/mult_adds"),
)
HERE, PAGE = Path(__file__).parent, Path(reports.__file__).parent  # whose style and sorting the page over runs has, too


@dataclass(frozen=True)
class Entry:
    """A row of the leaderboard: one card, or those that differ in their seed alone."""

    cards: Sequence[Card]

    @property
    def first(self) -> Card:
        return self.cards[0]

    @property
    def status(self) -> str:
        return "verified" if all(card.verified for card in self.cards) else "reported"

    @property
    def link(self) -> str:
        """The weights' URL, where a browser opens it."""
        weights = self.first.weights or ""
        return weights if weights.startswith(("http://", "https://")) else ""

    def mean(self, key: str) -> float | None:
        values = [number(card.results, key) for card in self.cards]
        return None if None in values else fmean(values)

    def show_mean(self, key: str) -> str:
        return column(key).show(self.mean(key))

    def show(self, key: str) -> str:
        show, center = column(key).show, self.mean(key)
        if center is None or len(self.cards) == 1:
            return show(center)
        around = stdev(number(card.results, key) for card in self.cards)
        return f"{show(center)} ± {show(around)}" if around else show(center)


def read_cards(folders: Iterable[Path]) -> tuple[list[Card], list[UserError]]:
    """Find the cards of folders, and of the collected runs in them, each once; and what is wrong with the others.

    Raises:
        UserError: a path that is not there, or nothing at all.
    """
    cards: dict[str, Card] = {}
    wrong = []
    for folder in folders:
        if not folder.exists():
            raise UserError(f"There is no {folder}: name folders of cards, of runs or of results.")
        files = [folder] if folder.is_file() else sorted(folder.rglob("*.json"))
        found = [partial(Card.load, path) for path in files if _is_card(path)]
        for run in _collected(folder):
            if not (run.folder / CARD).is_file():  # else the card says more
                by = run.provenance.get("by") or str(run.folder.parent)
                found.append(partial(Card.from_run, run, measured_by=by))
        for make in found:
            try:
                card = make()
                cards.setdefault(card.to_json(), card)
            except UserError as error:
                wrong.append(error)
    if not cards and not wrong:
        raise UserError(f"There is no card and no run in {', '.join(map(str, folders))}: see docs/sharing.md.")
    return list(cards.values()), wrong


def _is_card(path: Path) -> bool:
    """Tell whether a file is meant to be a card: by its name, its folder's, or by what it says."""
    if path.name == CARD or path.parent.name == ROWS:
        return True
    try:
        value = load_json(path)
    except (OSError, ValueError):
        return False
    return isinstance(value, dict) and "card" in value


def _collected(folder: Path) -> list:
    try:
        return gather([folder])[0]
    except UserError:  # there are none
        return []


def entries(cards: Sequence[Card]) -> dict[str, list[Entry]]:
    """Make rows by data set, the best first; cards that differ in their seed alone are one row."""
    alike: dict[str, list[Card]] = {}
    for card in cards:
        same = [card.data, card.model, card.method, card.members, card.settings, card.recipe, card.measured_by]
        if not card.settings:
            same.append([word for word in (card.command or card.name).split() if not word.startswith("seed=")])
        alike.setdefault(json.dumps(same, sort_keys=True), []).append(card)
    found: dict[str, list[Entry]] = {}
    for some in alike.values():
        seeds = [card.seed for card in some]
        apart = [some] if len(set(seeds)) == len(seeds) else [[card] for card in some]
        for together in apart:
            found.setdefault(together[0].data, []).append(Entry(together))
    return {data: sorted(rows, key=_rank) for data, rows in sorted(found.items())}


def _rank(entry: Entry) -> tuple:
    accuracy, error = entry.mean("test/acc"), entry.mean("test/rmse")
    return (accuracy is None, -(accuracy or 0), error or 0, entry.first.name)


def filled(rows: Sequence[Entry]) -> list[str]:
    """List the columns that a row of these fills."""
    return [key for key in COLUMNS if any(row.mean(key) is not None for row in rows)]


def best(rows: Sequence[Entry], key: str) -> str | None:
    """Write the best mean of a column as it is shown; None where there is none, see `best_shown`."""
    return best_shown(column(key), (row.mean(key) for row in rows))


def html(found: Mapping[str, Sequence[Entry]]) -> str:
    """Fill the page, in which whatever comes from a card is escaped."""
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    files = {"css": [PAGE / "page.css", HERE / "leaderboard.css"], "js": [PAGE / "page.js"]}
    code = {kind: Markup("\n".join(path.read_text("utf-8") for path in paths)) for kind, paths in files.items()}
    return environment.get_template("leaderboard.html.jinja").render(
        found=found, filled=filled, best=best, column=column, code=code
    )


def markdown(found: Mapping[str, Sequence[Entry]]) -> str:
    """Write tables in Markdown, a data set each."""
    parts = [f"# Leaderboard\n\n{ABOUT}\n"]
    for data, rows in found.items():
        keys = filled(rows)
        heads = ["method", "model", "members", *(column(key).head() for key in keys)]
        heads += ["seeds", "status", "by", "weights"]
        lines = [heads, ["---"] * 3 + ["---:"] * (len(keys) + 1) + ["---"] * 3]
        bold = {key: best(rows, key) for key in keys}
        for row in rows:
            card = row.first
            said = [card.method, card.model, card.members or MISSING]
            where = [len(row.cards), row.status, card.measured_by or MISSING, card.weights or MISSING]
            numbers = [f"**{row.show(key)}**" if row.show_mean(key) == bold[key] else row.show(key) for key in keys]
            lines.append([*map(markdown_cell, said), *numbers, *map(markdown_cell, where)])
        table = "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
        parts.append(f"## {markdown_cell(data)}\n\n{table}")
    return "\n".join(parts)
