"""A table's rows as runs; their configurations pass the same checks as train.py's command line."""

from collections.abc import Sequence
from dataclasses import dataclass

from ensembles.cli import CONFIGS
from ensembles.cli.composing import checked
from ensembles.cli.overrides import check, combinations
from ensembles.errors import UserError
from ensembles.papers.tables import Row, Table
from ensembles.runs import Run


@dataclass(frozen=True)
class Planned:
    """A row and its runs.

    Attributes:
        runs: one for each seed, in the seeds' order.
        added: overrides of the user's, which win over the row's.
    """

    row: Row
    runs: list[Run]
    added: tuple[str, ...] = ()

    @property
    def arguments(self) -> list[str]:
        """The overrides as train.py takes them."""
        return [*self.row.arguments, *self.added]


def plan(table: Table, seeds: int, arguments: Sequence[str] = ()) -> list[Planned]:
    """The runs of a table.

    Args:
        seeds: runs of a row, with the seeds 0, 1, ...
        arguments: overrides of the user's, which win over the rows'.

    Raises:
        UserError: names the table, the row and what is wrong with its configuration.
    """
    planned, known = [], set()
    for row in table.rows:
        words = [*row.arguments, *arguments]
        asked = frozenset(
            word if (CONFIGS / word.partition("=")[0]).is_dir() else word.partition("=")[0] for word in words
        )
        try:
            if asked not in known:  # rows of a sweep differ in their values alone, and this is about keys and options
                check(words)
                known.add(asked)
            planned.append(Planned(row, _runs(words, seeds), tuple(arguments)))
        except UserError as error:
            raise UserError(f"{table.name}, row {row.number} ({row.name}): {error}") from error
    return planned


def _runs(arguments: list[str], seeds: int) -> list[Run]:
    found = combinations(arguments)
    if len(found) > 1:
        raise UserError("a row has one configuration: give each override one value.")
    config = found[0][1]
    choices = config.hydra.runtime.choices
    del config.hydra
    plain = checked(config)
    return [Run.of({**plain, "seed": seed}, choices) for seed in range(seeds)]
