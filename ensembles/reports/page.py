"""One self-contained HTML file from page.html.jinja, page.css and page.js: no network, opens from disk."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ensembles.reports.paper_result import PaperResult

HERE = Path(__file__).parent


class Shown(NamedTuple):
    """A cell of a sortable table.

    Attributes:
        order: what it is sorted by: a number, a text or None.
        link: the place in the page that it leads to.
    """

    text: str
    order: object = None
    link: str = ""


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
    environment.filters["base64"] = lambda png: base64.b64encode(png).decode()
    code = {name: Markup((HERE / f"page.{name}").read_text(encoding="utf-8")) for name in ("css", "js")}
    return environment.get_template("page.html.jinja").render(title=title, papers=papers, code=code, **overview)
