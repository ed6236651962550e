"""Write into README.md what its commands print, the run that they leave and its plots.

python scripts/readme.py

A block between ``<!-- begin: COMMAND -->`` and ``<!-- end -->`` is COMMAND's output; all commands run one after another
in one empty folder, which takes some minutes. Between ``<!-- begin study: FOLDER -->`` and ``<!-- end study -->`` stand
the first table and the best plot of a study's folder, or nothing while it has none; --study writes these alone.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml
from PIL import Image

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"(<!-- begin: (?P<command>.+) -->\n```\n)(?P<output>(?:.*\n)*?)(```\n<!-- end -->)")
STUDY = re.compile(r"(<!-- begin study: (?P<folder>.+) -->\n)(?:.*\n)*?(<!-- end study -->)")
RUN = re.compile(r"digits-small_cnn_4x-packed-[0-9a-f]{8}")  # what a plain `python train.py` leaves
GAP = 40  # pixels between two plots
PLOTS = ("reliability.png", "disagreement.png")


def main() -> None:
    readme = ROOT / "README.md"
    text = STUDY.sub(lambda block: block[1] + of_study(ROOT, Path(block["folder"])) + block[3], readme.read_text())
    readme.write_text(text)
    if sys.argv[1:] == ["--study"]:
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for program in ("train.py", "scripts"):
            (folder / program).symlink_to(ROOT / program)
        text = BLOCK.sub(lambda block: block[1] + output(block["command"], folder) + block[4], text)
        run = RUN.search(BLOCK.search(text)["output"])[0]
        readme.write_text(RUN.sub(run, text))
        side_by_side([folder / "runs" / run / plot for plot in PLOTS], ROOT / "docs/images/digits.png")
    print(f"README.md: {run}")


def of_study(root: Path, folder: Path) -> str:
    """Give a study's first table and its plot of accuracy against cost; nothing while it has none."""
    table, plot = folder / "table.md", folder / "accuracy_flops.png"
    if not ((root / table).is_file() and (root / plot).is_file()):
        return ""
    title, first, *_ = (root / table).read_text().split("\n\n")
    rows, planned = (
        first.strip().count("\n") - 1,
        len(yaml.safe_load((root / folder / "study.yaml").read_text())["rows"]),
    )
    said = f"{title.removeprefix('# ')}: mean ± standard deviation over seeds"
    said += f", {rows} of {planned} rows so far" if rows < planned else ""
    plan = f"[all of it]({table.as_posix()}), [how it is run]({(folder / 'study.yaml').as_posix()})"
    return f"{said} ({plan}).\n\n{first.strip()}\n\n![Accuracy against multiply-adds]({plot.as_posix()})\n"


def output(command: str, folder: Path) -> str:
    """Give what a command prints in a terminal of 100 columns, with the threads of `make train`."""
    environment = {"OMP_NUM_THREADS": "2", **os.environ, "COLUMNS": "100"}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    lines = [line.rstrip() for line in done.stdout.strip().splitlines() if "━ " not in line]  # no progress bar
    return "\n".join(lines) + "\n"


def side_by_side(plots: list[Path], out: Path) -> None:
    """Make one picture of several, of equal height."""
    images = [Image.open(plot).convert("RGB") for plot in plots]
    width = sum(image.width for image in images) + GAP * (len(images) - 1)
    height = max(image.height for image in images)
    whole, left = Image.new("RGB", (width, height), "white"), 0
    for image in images:
        whole.paste(image, (left, (height - image.height) // 2))
        left += image.width + GAP
    whole.quantize(128).save(out, optimize=True)


if __name__ == "__main__":
    main()
