"""What the site adds to its pages: pictures of the methods, equations, measured rows, results and notebooks.

MkDocs calls the functions whose names begin with ``on_``. Nothing is fetched and nothing is trained.
"""

import html
import json
import posixpath
import random
import re
from itertools import pairwise
from pathlib import Path

import latex2mathml.converter
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
MEASURED = "results/digits_wrn/README.md"
OF_WHAT = (
    f"On [handwritten digits](../../{MEASURED}), with WRN-16-1 and one seed: one test image is 0.28 points, so that a "
    "difference of a point says nothing."
)
LEFT_OUT = ("corrupted ECE", "OOD (photos) AUROC %")  # columns for which there is no room
BRIEF = {"corrupted accuracy %": "corrupted %", "pairs differ on %": "differ %", "forward passes": "passes"}
ENDS = ("deterministic", "deep_ensemble")
SHOWN = ("results/README.md", "results/claims.md", "results/*/*.md", "results/**/*.png")  # of what is outside docs/
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s#]*)(#[^()\s]*)?\)")
ANSI = re.compile(r"\x1b\[[0-9;]*m")  # a terminal's colours
FENCE = re.compile(r"(^```.*?^```)", re.DOTALL | re.MULTILINE)
MATHS = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add results, and notebooks as pages."""
    for pattern in SHOWN:
        for path in sorted(ROOT.glob(pattern)):
            files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    for path in sorted((ROOT / "docs/notebooks").glob("*.ipynb")):
        files.append(File.generated(config, f"notebooks/{path.stem}.md", content=notebook(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Fill in pictures and measured rows, and mend links to what is elsewhere in the repository."""
    markdown = re.sub(r"<!-- picture: (\w+) -->", lambda found: picture(found[1]), markdown)
    markdown = markdown.replace("<!-- gallery -->", gallery(files)).replace("<!-- printed -->", printed())
    markdown = re.sub(r"<!-- measured: (\w+) -->", lambda found: measured(found[1]), markdown)
    pieces = FENCE.split(markdown)
    pieces[::2] = [LINK.sub(lambda found: link(found, page.file.src_uri, files), piece) for piece in pieces[::2]]
    return "".join(pieces)


def on_page_content(content: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn equations into MathML, which browsers draw themselves."""

    def drawn(found: re.Match) -> str:
        display = "block" if found[1] == "div" else "inline"
        return latex2mathml.converter.convert(html.unescape(found[2]), display=display)

    return MATHS.sub(drawn, content)


def link(found: re.Match, source: str, files: Files) -> str:
    """A link between two pages wherever their files are; the text alone where the site has no such page."""
    picture, text, target, place = found[1], found[2], found[3], found[4] or ""
    if not target or ":" in target or files.get_file_from_path(posixpath.join(posixpath.dirname(source), target)):
        return found[0]
    at = source if source.startswith("results/") else f"docs/{source}"
    uri = posixpath.normpath(posixpath.join(posixpath.dirname(at), target)).removeprefix("docs/")
    for name in (uri, f"{uri}/README.md"):
        if files.get_file_from_path(name):
            return f"{picture}[{text}]({posixpath.relpath(name, posixpath.dirname(source) or '.')}{place})"
    return text


def gallery(files: Files) -> str:
    """All methods' pictures, each leading to its page, with the page's first sentence."""
    cards = []
    for name in PICTURES:
        file = files.get_file_from_path(f"methods/{name}.md")
        title, said = re.match(r"# (.+)\n\n(.+)", file.content_string).groups()
        said = re.split(r"(?<=[.:]) ", said)[0].rstrip(".:")
        cards.append(f'<a href="{file.url}">{picture(name)}<b>{title}</b><br>{said}</a>')
    return "\n".join(cards)


def printed() -> str:
    """What `ensembles train` prints, up to the first blank line, as README.md has it."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.search(r"<!-- begin: python train.py -->\n```\n(.+?)\n\n", text, re.DOTALL)[1]


def measured(method: str) -> str:
    """The method's row of the measured table beside the single network's and the deep ensemble's; or all rows."""
    lines = [line for line in (ROOT / MEASURED).read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    table[0] = [BRIEF.get(head, head) for head in table[0]]
    kept = [i for i, head in enumerate(table[0]) if head not in LEFT_OUT]
    shown = (table[0], table[1], *(row for row in table[2:] if method == "all" or row[0] in (method, *ENDS)))
    cells = ([f"**{row[i]}**" if row[0] == method and i == 0 else row[i] for i in kept] for row in shown)
    rows = (f"| {' | '.join(row)} |" for row in cells)
    return "\n".join(['<div class="measured" markdown="1">', "", *rows, "", "</div>", "", OF_WHAT])


def notebook(path: Path) -> str:
    """A notebook as Markdown, with what it printed and drew."""
    parts = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        text = "".join(cell["source"])
        parts.append(text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```")
        said = ""
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            if "image/png" in data:
                flat = "".join(data["image/png"]).replace("\n", "")
                parts.append(f'<img alt="what the cell draws" src="data:image/png;base64,{flat}">')
            elif "text/html" in data:
                table = re.sub(r"<style.*?</style>", "", "".join(data["text/html"]), flags=re.DOTALL)
                parts.append(table.replace(' border="1" class="dataframe"', ""))
            else:
                said += "".join(output.get("text", data.get("text/plain", "")))
        if said:
            parts.append(f"```text\n{ANSI.sub('', said).rstrip()}\n```")
    return "\n\n".join(parts) + f"\n\nThe notebook: [{path.name}]({path.name})\n"


# Lanes of a picture are members, columns are layers: what one colour fills is a member's own, what is grey is shared.
LANE, GAP, TOP, WIDTH = 40, 12, 14, 54
WHOLE, MIDDLE = 3 * LANE + 2 * GAP, TOP + 1.5 * LANE + GAP
LAYERS_AT = (130, 215, 300, 385)
OUT_AT, MEAN_AT = 456, 524
PICTURES = {  # inputs, what each layer is, and what is said beneath
    "deterministic": (1, ("own",) * 4, ""),
    "dropout": (1, ("shared", "masked", "masked", "shared"), "drawn in every pass"),
    "deep_ensemble": (3, ("own",) * 4, ""),
    "packed": (1, ("thin",) * 4, "thin networks"),
    "naive_multihead": (1, ("shared", "shared", "shared", "own"), ""),
    "treenet": (1, ("shared", "shared", "own", "own"), "trunk and branches"),
    "batch_ensemble": (1, ("scaled",) * 4, "one W, factors r and s"),
    "mixture": (1, ("mixed",) * 4, "templates"),
    "masksembles": (1, ("shared", "masked", "masked", "shared"), "fixed masks"),
    "mimo": (3, ("own", "shared", "shared", "own"), ""),
}


def picture(name: str) -> str:
    """A method as SVG: input, four layers, predictions and their mean, from left to right."""
    inputs, kinds, said = PICTURES[name]
    tops = [TOP + (LANE + GAP) * lane for lane in ((1,) if name == "deterministic" else range(3))]
    starts = tops if inputs == 3 else [MIDDLE - LANE / 2]
    parts = [_line(88, y + LANE / 2, LAYERS_AT[0], y + LANE / 2) for y in starts]
    if kinds[0] not in ("shared", "scaled"):
        parts += [_line(88, MIDDLE, LAYERS_AT[0], y + LANE / 2) for y in tops if inputs == 1]
    parts += [_image(52, y, f"m{m}" if inputs == 3 else "shared") for m, y in enumerate(starts)]
    for one, next_one in pairwise((*LAYERS_AT, OUT_AT)):
        parts += [_line(one + WIDTH / 2, y + LANE / 2, next_one, y + LANE / 2) for y in tops]
    draws = random.Random(name)
    for x, kind in zip(LAYERS_AT, kinds, strict=True):
        if kind in ("shared", "masked", "scaled"):
            parts.append(_block(x, TOP, WIDTH, WHOLE, "shared"))
        for m, y in enumerate(tops):
            parts += _own(kind, x, y, m, draws)
    for m, y in enumerate(tops):
        parts += _bars(OUT_AT, y, f"m{m}", m)
        if len(tops) > 1:
            parts.append(_line(OUT_AT + 30, y + LANE / 2, MEAN_AT - 4, MIDDLE))
    if len(tops) > 1:
        parts += [*_bars(MEAN_AT, MIDDLE - LANE / 2, "shared", 3), _text(MEAN_AT + 13, MIDDLE + 36, "mean")]
    bottom = TOP + WHOLE + 26
    parts += [_text(70, bottom, "inputs" if inputs == 3 else "input"), _text(258, bottom, said)]
    parts += [_text(157, bottom, "first layer"), _text(412, bottom, "last layer")]
    if kinds[0] == "mixed":
        parts += [_block(292 + 20 * i, bottom - 12, 16, 16, "shared", 1 - 0.22 * i) for i in range(4)]
    title = name.replace("_", " ")
    drawing = f'<svg viewBox="30 0 540 {bottom + 10}" role="img" aria-label="{title}">{"".join(parts)}</svg>'
    return f'<figure class="picture">{drawing}</figure>'


def _own(kind: str, x: float, y: float, m: int, draws: random.Random) -> list[str]:
    """What a member has of its own in a layer."""
    if kind == "own":
        return [_block(x, y, WIDTH, LANE, f"m{m}")]
    if kind == "thin":
        return [_block(x, y + LANE / 4, WIDTH, LANE / 2, f"m{m}")]
    if kind == "scaled":
        return [_block(x, y, 7, LANE, f"m{m}"), _block(x + 10, y, WIDTH - 10, 7, f"m{m}")]
    if kind == "masked":
        kept = [f"m{m}" if draws.random() < 0.55 else "off" for _ in range(5)]
        return [_block(x + 4 + 9.6 * i, y + 10, 7, LANE - 20, kind) for i, kind in enumerate(kept)]
    if kind == "mixed":
        shares = [draws.uniform(0.4, 1.6) for _ in range(4)]
        parts, left = [_block(x, y, WIDTH, LANE, f"m{m}")], x + 4.0
        for i, share in enumerate(shares):
            width = (WIDTH - 8) * share / sum(shares)
            parts += [_block(left, y + 4, width, LANE - 8, "off", 1)]
            parts += [_block(left, y + 4, width, LANE - 8, "shared", 1 - 0.22 * i)]
            left += width
        return parts
    return []


def _block(x: float, y: float, width: float, height: float, kind: str, opacity: float = 1) -> str:
    return f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{height}" rx="3" opacity="{opacity:g}" />'


def _line(x: float, y: float, to_x: float, to_y: float) -> str:
    return f'<path class="flow" d="M{x} {y}L{to_x} {to_y}" />'


def _text(x: float, y: float, text: str) -> str:
    return f'<text x="{x}" y="{y}">{text}</text>'


def _image(x: float, y: float, kind: str) -> str:
    """A framed landscape."""
    hills = f"M{x + 4} {y + 32}L{x + 14} {y + 18}L{x + 21} {y + 26}L{x + 26} {y + 21}L{x + 32} {y + 32}Z"
    sun = f'<circle class="off" cx="{x + 26}" cy="{y + 12}" r="3.5" />'
    return f'{_block(x, y + 3, 36, 34, kind)}<path class="off" d="{hills}" />{sun}'


def _bars(x: float, y: float, kind: str, m: int) -> list[str]:
    """A distribution over four classes."""
    heights = ((26, 8, 5, 9), (20, 14, 7, 5), (23, 5, 12, 8), (23, 9, 8, 7))[m]
    return [_block(x + 7 * i, y + LANE - 6 - height, 5, height, kind) for i, height in enumerate(heights)]
