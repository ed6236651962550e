"""Quantities against a swept setting: a line for each group, in a band of a standard deviation over seeds."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ensembles.analysis.series import MARKERS, Drawing, FigureRow, Point, named, points, rows, shown, values
from ensembles.analysis.trained import tested
from ensembles.checkpoints import read_checkpoint
from ensembles.errors import UserError
from ensembles.reports import style
from ensembles.reports.schema import quantity, source_label

THRESHOLD = 1e-4  # above which a weight counts as not zero
LABEL = "weights that are not zero (%)"
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")  # of batch norms, which are counted, not trained


def curves(
    lines: Sequence[FigureRow],
    x: str,
    show: Sequence[Sequence[str]],
    group: str = "",
    panel: str = "",
    log: bool = False,
    label: str = "",
    printed: Sequence[Mapping] = (),
) -> Drawing:
    """Draw a row of axes for each panel: a quantity of the results, or several of one unit, in each.

    Args:
        x: the head whose values are the axis, or a key of the results.
        show: for each of the axes the keys of results that it shows.
        group, panel: heads whose values are drawn in another colour, and apart.
        log: whether the axis is logarithmic.
        label: of the axis, if not ``x``.
        printed: numbers of the paper's, drawn as grey crosses: ``at``, head -> value; result key -> number as drawn.
    """

    def place(line: FigureRow) -> float:
        return fmean(values(line, x)) if "/" in x else float(line.at[x])

    found = points(lines, place, [key for keys in show for key in keys], panel, group)
    label = label or (quantity(x).axis if "/" in x else x)
    figure = curves_figure(found, show, label, log, printed, (panel, group, x))
    return Drawing(figure, rows(found, panel, group, x), findings(found, label, (panel, group)))


def curves_figure(
    found: Sequence[Point],
    show: Sequence[Sequence[str]],
    label: str,
    log: bool = False,
    printed: Sequence[Mapping] = (),
    heads: tuple[str, str, str] = ("", "", ""),
) -> Figure:
    """Draw points as lines; what has one name in the legend has one look in all axes.

    Args:
        heads: of the panels, the groups and the axis.

    Raises:
        UserError: no point.
    """
    if not found:
        raise UserError(f"No finished row has {' or '.join(key for keys in show for key in keys)}: run the rows again.")

    def name(point: Point, keys: Sequence[str]) -> str:
        whose = [source_label(point.key)] if len(keys) > 1 or not point.group else []
        return ", ".join([*([named(heads[1], point.group)] if point.group else []), *whose])

    looks = list(dict.fromkeys(name(point, keys) for keys in show for point in found if point.key in keys))
    panels = list(dict.fromkeys(point.panel for point in found))
    figure = Figure(figsize=(3.3 * len(show), 0.6 + 2.4 * len(panels)))
    grid = figure.subplots(len(panels), len(show), squeeze=False)
    for row, panel in zip(grid, panels, strict=True):
        for axes, keys in zip(row, show, strict=True):
            lines: dict[tuple[str, str], list[Point]] = {}
            for point in found:
                if point.panel == panel and point.key in keys:
                    lines.setdefault((name(point, keys), point.key), []).append(point)
            for (of, _), line in lines.items():
                _line(axes, line, of, looks.index(of))
            _crosses(axes, [mark for mark in printed if mark["at"].get(heads[0], "") == panel], keys, heads[2])
            axes.set(xlabel=label, ylabel=quantity(keys[0]).axis, title=named(heads[0], panel))
            if log:
                style.logarithmic(axes)
            elif "/" not in heads[2] and len({point.x for point in found}) <= 10:
                axes.set_xticks(sorted({point.x for point in found}))
    handles = {text: of for axes in grid.flat for of, text in zip(*axes.get_legend_handles_labels(), strict=True)}
    if len(handles) > 1:
        texts = sorted(handles, key=lambda text: [*looks, text].index(text))  # what the paper prints comes last
        figure.legend([handles[text] for text in texts], texts, loc="outside upper center", ncols=min(len(texts), 6))
    return figure


def _line(axes: Axes, line: Sequence[Point], name: str, i: int) -> None:
    """Draw the means over seeds in the i-th look, in a band of a standard deviation."""
    places, means, spread = ([getattr(point, of) for point in line] for of in ("x", "mean", "std"))
    axes.plot(places, means, **style.look(i), marker=MARKERS[i % len(MARKERS)], label=name)
    low, high = ([m + sign * s for m, s in zip(means, spread, strict=True)] for sign in (-1, 1))
    axes.fill_between(places, low, high, color=style.look(i)["color"], alpha=0.15, linewidth=0)


def _crosses(axes: Axes, printed: Sequence[Mapping], keys: Sequence[str], x: str) -> None:
    marks = [(float(mark["at"][x]), float(mark[key])) for mark in printed for key in keys if key in mark]
    if marks:
        axes.plot(*zip(*marks, strict=True), "x", color=style.GREY, markersize=7, label="printed in the paper")


def findings(found: Sequence[Point], label: str, heads: tuple[str, str]) -> list[str]:
    """Say for each panel and quantity where each group is best, and how it gets on from the axis' start to its end.

    Args:
        heads: of the panels and the groups.
    """
    said: dict[tuple[str, str], list[str]] = {}
    for panel, group, key in dict.fromkeys((point.panel, point.group, point.key) for point in found):
        some = [point for point in found if (point.panel, point.group, point.key) == (panel, group, key)]
        first, last, better = some[0], some[-1], quantity(key).better
        text = f"{shown(first)} at {label} = {first.x:g}"
        if len(some) > 1:
            text += f", {shown(last)} at {last.x:g}"
        if len(some) > 2 and better:
            best = (max if better == "higher" else min)(some, key=lambda point: point.mean)
            text += f", best at {best.x:g} ({shown(best)})"
        said.setdefault((panel, key), []).append(f"{named(heads[1], group)}: {text}" if group else text)
    return [f"{_about(panel, heads[0], key)}: {'; '.join(texts)}." for (panel, key), texts in said.items()]


def _about(panel: str, head: str, key: str) -> str:
    parts = [named(head, panel) if panel else "", quantity(key).axis, source_label(key)]
    return ", ".join(filter(None, parts))


def sparsity(
    lines: Sequence[FigureRow],
    show: Sequence[Sequence[str]],
    group: str = "",
    panel: str = "",
    printed: Sequence[Mapping] = (),
) -> Drawing:
    """Draw `curves` against the share of the weights that are not zero.

    Args:
        show, group, panel, printed: as there.
    """
    share = {line.name: 100 * fmean(nonzero(tested(run)) for run in line.runs) for line in lines}
    found = points(lines, lambda line: share[line.name], [key for keys in show for key in keys], panel, group)
    figure = curves_figure(found, show, LABEL, True, printed, (panel, group, LABEL))
    return Drawing(figure, rows(found, panel, group, LABEL), findings(found, LABEL, (panel, group)))


def nonzero(checkpoint: Path) -> float:
    """Count the share of a checkpoint's trained numbers whose absolute value is above `THRESHOLD`."""
    state = read_checkpoint(checkpoint)["state_dict"]
    weights = [tensor for key, tensor in state.items() if key.rpartition(".")[2] not in STATISTICS]
    return sum((weight.abs() > THRESHOLD).sum().item() for weight in weights) / sum(w.numel() for w in weights)
