"""Predict image files by a trained ensemble, into a CSV.

ensembles predict runs/<run> photos --out predictions.csv
ensembles predict --trust mine runs/<run>/best.ckpt one.jpg other.png     # a network of your own, in mine.py

A line an image: the file, its most probable class and that class's probability, the entropy of the prediction and the
mutual information between prediction and member, both in nats.
"""

from pathlib import Path

from ensembles.cli import TRUST, command_parser, program
from ensembles.errors import UserError
from ensembles.files import write_rows

COLUMNS = ("file", "class", "probability", "entropy", "mutual_information")


@program()
def main() -> None:
    parser = command_parser(__doc__)
    parser.add_argument("run", type=Path, help="a run's folder, or a checkpoint")
    parser.add_argument("images", nargs="+", help="image files, and folders of them")
    parser.add_argument("--out", type=Path, default=Path("predictions.csv"), help="the CSV to write (%(default)s)")
    parser.add_argument("--trust", **TRUST)
    arguments = parser.parse_args()
    rows = predicted(arguments.run, arguments.images, arguments.trust)
    write_rows(arguments.out, [COLUMNS, *rows])
    print(f"{arguments.out}: {len(rows):,} images.")


def predicted(run: Path, images: list[str], trust: list[str]) -> list[tuple]:
    """Predict files, a row each; see `COLUMNS`.

    Raises:
        UserError: a checkpoint or an image that cannot be read, or a regression.
    """
    import torch  # takes seconds

    from ensembles.predictor import Regressor, image_paths, load

    model = load(run, trust)
    if isinstance(model, Regressor):
        raise UserError(
            f"{run} predicts numbers from points, not classes of images: ensembles.load(...).predict does it."
        )
    files = image_paths(images)
    found = model.to("cuda" if torch.cuda.is_available() else "cpu").predict(files, details=True)
    probability, best = found.probabilities.max(1)
    names = [model.class_names[k] for k in best.tolist()]
    numbers = (x.tolist() for x in (probability, found.entropy, found.mutual_information))
    return list(zip(map(str, files), names, *numbers, strict=True))
