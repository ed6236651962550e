"""The columns and rows of a table's or figure's file."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product

from ensembles.papers.place import Place
from ensembles.papers.tables import Column, OwnCount, Row

BETTER = ("higher", "lower")
CRITERIA = (
    "max_probability",
    "max_logit",
    "entropy",
    "mutual_information",
    "variance",
)  # of metrics.ood, without torch

TAKES = ("count", "mean", "best")


def column(place: Place, value: object) -> Column:
    value = dict(place.mapping(value, ("key", "head"), ("better", "scale", "unit", "apart", "over", "take")))
    if value.get("better", BETTER[0]) not in BETTER:
        raise place.wrong(f"better is {value['better']!r}, but must be {' or '.join(BETTER)}")
    if "scale" in value:
        value["scale"] = float(place.number(value["scale"], "scale") or 0)
        if value["scale"] <= 0:
            raise place.wrong("scale must be a number above 0")
    if value.get("take", TAKES[0]) not in TAKES:
        raise place.wrong(f"take is {value['take']!r}, but must be {', '.join(TAKES[:-1])} or {TAKES[-1]}")
    if value.get("take") == "best" and "better" not in value:
        raise place.wrong("take is best: say which is better, higher or lower")
    return Column(**value)


@dataclass(frozen=True)
class Above:
    """What a row takes over from the table and from the block that it is in."""

    heads: tuple[str, ...]
    columns: tuple[Column, ...]
    names: Mapping[str, str]
    overrides: Mapping[str, str]
    criterion: str | None = None
    sweep: Mapping[str, Mapping] = field(default_factory=dict)

    def block(self, place: Place, value: dict) -> "Above":
        names = value.get("names", {})
        for head in names if isinstance(names, dict) else ["names"]:
            if head not in self.heads:
                raise place.wrong(
                    f"the block's names have {head}, but the columns of names are {', '.join(self.heads)}"
                )
        overrides = {**self.overrides, **place.overrides(value.get("overrides", {}))}
        return replace(self, names={**self.names, **names}, overrides=overrides)


def criterion(place: Place, value: Mapping) -> str | None:
    """What a table or row says of it, if anything."""
    found = value.get("criterion")
    if found is not None and found not in CRITERIA:
        raise place.wrong(f"criterion is {found!r}, but must be one of {', '.join(CRITERIA)}")
    return found


def sweep(place: Place, value: object, heads: Sequence[str]) -> dict[str, tuple[str, list[str]]]:
    """Swept settings: head -> key of an override, and its values.

    Raises:
        UserError: says what is wrong.
    """
    found = {}
    for head, setting in place.mapping(value, (), heads).items():
        if not isinstance(setting, dict) or len(setting) != 1:
            raise place.wrong(f"the sweep over {head} is {setting!r}, but must be one key with a list of values")
        ((key, values),) = setting.items()
        if not isinstance(values, list) or len(values) < 2:
            raise place.wrong(f"the sweep over {head} has {values!r} for {key}, but must have a list of two or more")
        found[head] = (key, list(place.overrides(dict(enumerate(values))).values()))
    return found


def rows(place: Place, entries: list, above: Above, found: list[Row]) -> list[Row]:
    for entry in entries:
        if isinstance(entry, dict) and "rows" in entry:
            here = place.inside(f"the block after row {len(found)}")
            here.mapping(entry, ("rows",), ("names", "overrides"))
            if not isinstance(entry["rows"], list):
                raise here.wrong("rows must be a list")
            rows(place, entry["rows"], above.block(here, entry), found)
        else:
            found += _of_entry(place, entry, above, len(found) + 1)
    return found


def _of_entry(place: Place, value: object, above: Above, number: int) -> Iterator[Row]:
    """The row of an entry, or one for each combination of what the entry sweeps."""
    called = value.get("name") if isinstance(value, dict) else None
    place = place.inside(f"row {number}" + (f" ({called})" if called else ""))
    named = above.heads[0] in {**above.names, **above.sweep}
    required = ("overrides", *(() if named else ("name",)), *(("paper",) if above.columns else ()))
    value = place.mapping(value, required, ("name", "criterion", "counts", "note", "precedence", "sweep"))
    printed = value.get("paper", [])
    if not isinstance(printed, list) or len(printed) != len(above.columns):
        has = f"{len(printed)} numbers" if isinstance(printed, list) else repr(printed)
        raise place.wrong(f"paper has {has}, but the table has {len(above.columns)} columns")
    paper = tuple(place.number(text, f"paper's {c.head}") for text, c in zip(printed, above.columns, strict=True))
    own = {**({above.heads[0]: value["name"]} if "name" in value else {}), **above.names}
    swept = {**above.sweep, **sweep(place, value.get("sweep", {}), above.heads)}
    missing = [head for head in above.heads if head not in {**own, **swept}]
    if missing:
        raise place.wrong(f"it has no {missing[0]}: put it into a block that names it")
    overrides = {**above.overrides, **place.overrides(value["overrides"])}
    for i, point in enumerate(product(*(enumerate(values) for _, values in swept.values()))):
        chosen = {head: text for head, (_, text) in zip(swept, point, strict=True)}
        at = {**own, **chosen}
        names = {**own, **{head: f"{head} = {text}" for head, text in chosen.items()}}
        yield Row(
            number=number + i,
            names=tuple(names[head] for head in above.heads),
            overrides={**overrides, **{swept[head][0]: text for head, text in chosen.items()}},
            paper=paper,
            criterion=criterion(place, value) or above.criterion or Row.criterion,
            counts=_counts(place, value.get("counts", {}), above.columns),
            note=value.get("note"),
            precedence=value.get("precedence"),
            at={head: at[head] for head in above.heads},
            swept={swept[head][0]: (index, len(swept[head][1])) for head, (index, _) in zip(swept, point, strict=True)},
        )


def _counts(place: Place, value: object, columns: Sequence[Column]) -> dict[str, OwnCount]:
    keys = [column.key for column in columns]
    counts = {}
    for key, entry in place.mapping(value, (), keys).items():
        entry = place.mapping(entry, ("times", "how"))
        times = place.number(entry["times"], f"the count of {key}")
        if times is None:
            raise place.wrong(f"the count of {key} has no times")
        counts[key] = OwnCount(float(times), entry["how"])
    return counts
