"""The tables and figures, read from their YAML files and checked."""

from difflib import get_close_matches
from pathlib import Path

import yaml

from ensembles.errors import UserError, reason
from ensembles.papers.place import Place
from ensembles.papers.rows import Above, column, criterion, rows, sweep
from ensembles.papers.tables import Table

HOME = Path(__file__).parent
CLAIMS = "claims.yaml"  # stands beside a paper's tables and figures and is neither


def names(root: Path = HOME) -> list[str]:
    """All tables and figures, as <paper>/<file>."""
    found = (path for path in root.glob("*/*.yaml") if path.name != CLAIMS)
    return sorted(path.relative_to(root).with_suffix("").as_posix() for path in found)


def load(name: str, root: Path = HOME) -> Table:
    """Read a table or figure.

    Args:
        name: <paper>/<file>.
        root: the folder with a folder for each paper.

    Raises:
        UserError: no such table, or one sentence that names the file and the row where it is wrong.
    """
    path = root / f"{name}.yaml"
    if name not in names(root):
        near = get_close_matches(name, names(root), n=3) or names(root)
        raise UserError(f"There is no table {name}: there are {', '.join(near)}.")
    try:
        text = yaml.load(path.read_text(encoding="utf-8"), yaml.BaseLoader)  # scalars as text: 0.010 keeps its digits
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is no YAML ({reason(error)}).") from error
    if isinstance(text, dict) and "drawing" in text:
        typed = yaml.safe_load(path.read_text(encoding="utf-8"))
        if "printed" in text["drawing"]:
            typed["drawing"]["printed"] = text["drawing"]["printed"]
        return _figure(name, Place(path), text, {key: typed.get(key) or {} for key in ("drawing", "scales")})
    return _table(name, Place(path), text)


def _table(name: str, place: Place, value: object) -> Table:
    required = ("title", "paper", "cites", "names", "columns", "rows")
    value = place.mapping(value, required, ("note", "seeds", "criterion", "overrides"))
    for key in ("names", "columns", "rows"):
        if not isinstance(value[key], list) or not value[key]:
            raise place.wrong(f"{key} must be a list with at least one entry")
    return _entry(name, place, value, {})


def _figure(name: str, place: Place, value: dict, typed: dict) -> Table:
    required = ("title", "paper", "cites", "drawing", "shows")
    place.mapping(value, required, ("names", "rows", "note", "seeds", "criterion", "overrides", "sweep", "scales"))
    for key in ("names", "rows"):
        if not isinstance(value.setdefault(key, []), list):
            raise place.wrong(f"{key} must be a list")
    if value["rows"] and not value["names"]:
        raise place.wrong("rows have names: give the list of their heads as names")
    place.inside("drawing").mapping(typed["drawing"], ("_target_",), typed["drawing"])
    for scale, settings in place.inside("scales").mapping(typed["scales"], (), ("small", "smoke")).items():
        place.inside(f"scales, {scale}").mapping(settings, (), ("drawing", "overrides", "points", "says"))
    return _entry(name, place, value, {"shows": " ".join(value["shows"].split()), **typed})


def _entry(name: str, place: Place, value: dict, of_figure: dict) -> Table:
    texts = {key: place.text(value[key], key) for key in ("title", "paper", "cites")}
    columns = tuple(column(place.inside(f"column {i}"), entry) for i, entry in enumerate(value.get("columns", ()), 1))
    heads = tuple(value["names"])
    swept = sweep(place, value.get("sweep", {}), heads)
    above = Above(heads, columns, {}, place.overrides(value.get("overrides", {})), criterion(place, value), swept)
    found = tuple(rows(place, value["rows"], above, []))
    all_names = [row.name for row in found]
    for i, row in enumerate(found):
        if row.name in all_names[:i]:
            raise place.inside(f"row {row.number} ({row.name})").wrong("another row has the same name")
    for i, entry in enumerate(columns, 1):
        if entry.over is not None and entry.over not in all_names:
            raise place.inside(f"column {i}").wrong(f"over is {entry.over!r}, but no row has that name")
    seeds = place.number(value.get("seeds", "3"), "seeds")
    if seeds is None or seeds != int(seeds) or seeds < 1:
        raise place.wrong(f"seeds is {value['seeds']!r}, but must be an integer of at least 1")
    return Table(
        name, **texts, heads=heads, columns=columns, rows=found, note=value.get("note"), seeds=int(seeds), **of_figure
    )
