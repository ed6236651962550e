"""One self-contained HTML file from page.html.jinja, page.css and page.js: no network, opens from disk."""

import base64
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ensembles.reports.paper_result import PaperResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HERE = Path(__file__).parent
COLOURS, SCALE = 16, 0.75  # of a run's plots in the page


class Shown(NamedTuple):
    """A cell of a sortable table.

    Attributes:
        order: what it is sorted by: a number, a text or None.
        link: the place in the page that it leads to.
        spread: what stands after the text, such as a standard deviation.
        best: whether it is the best of its column.
    """

    text: str
    order: object = None
    link: str = ""
    spread: str = ""
    best: bool = False


def page(title: str, papers: Sequence[PaperResult], **overview: object) -> str:
    """Fill the template, in which whatever is put in is escaped.

    Args:
        papers: tables and figures.
        overview: what stands around them in a page over runs, as `ensembles.reports.overview.overview` has it.
    """
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"base64": lambda png: base64.b64encode(png).decode(), "small_image": small_image}
    code = {name: Markup((HERE / f"page.{name}").read_text(encoding="utf-8")) for name in ("css", "js")}
    return environment.get_template("page.html.jinja").render(title=title, papers=papers, code=code, **overview)


def small_image(path: Path) -> tuple[str, bytes]:
    """Make a plot for the page, in few colours and no more pixels than are shown, and tell its kind; a tenth in size.

    Nothing of a file that is no PNG comes into the page.
    """
    from PIL import Image

    file = io.BytesIO()
    try:
        with Image.open(path, formats=["PNG"]) as image:
            size = [max(1, int(SCALE * side)) for side in image.size]
            few = image.convert("RGB").resize(size, Image.Resampling.LANCZOS)
            few = few.quantize(COLOURS, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
            few.convert("RGB").save(file, "webp", lossless=True, method=6)
    except Exception:  # whatever a damaged picture makes its reader raise
        return "png", b""
    return "webp", file.getvalue()


def svg(figure: "Figure") -> Markup:
    """Make a figure an element of the page; text stays text, in the page's font, and escaped."""
    from matplotlib import rc_context

    file = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "ensembles"}):
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(file, format="svg", transparent=True, metadata=nothing)
    text = file.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", text[text.index("<svg") :], flags=re.DOTALL)
    return Markup(re.sub(r">\n\s*<", "><", re.sub(r"<[^>]*>", _tidied, text)))


def _tidied(tag: re.Match) -> str:
    """Strip a tag of what a page has already, or makes of it itself: names, sizes, fonts."""
    text = re.sub(r'\s+xmlns(:\w+)?="[^"]*"', "", tag[0]).replace("xlink:href", "href")
    if text.startswith("<svg"):
        text = re.sub(r' (width|height)="[^"]*"', "", text)
    elif text.startswith("<g"):
        text = re.sub(r' id="[^"]*"', "", text)
    return re.sub(r'font: ([\d.]+px) [^;"]*', r"font-size: \1", text)
