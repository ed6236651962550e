"""Write a corrupted copy of a test set in the official layout: ``python scripts/corrupt.py data=cifar100``.

The arguments are those of ``train.py``; ``data.corruptions`` says which types (``data.corruptions.types=all``), and
``data.corrupt=written`` reads the copy back. Types that are there already are left as they are, so that an interrupted
command can be given again.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # a checkout works without being installed

import hydra
from hydra._internal.utils import get_args_parser
from omegaconf import DictConfig
from rich.console import Console

from ensembles.cli import CONFIGS, complain
from ensembles.cli.config import checked
from ensembles.cli.overrides import check
from ensembles.errors import UserError


def job(config: DictConfig) -> bool:
    """Write the copy of a configuration's test set; returns whether it is there now."""
    try:
        plain = checked(config)

        import torch

        from ensembles import build
        from ensembles.data.write_corrupted import write

        data = build.call(plain["data"], batch_size=1, seed=plain["seed"])
        on_gpu = torch.cuda.is_available() and plain["trainer"]["accelerator"] != "cpu"
        folder = write(data, "cuda" if on_gpu else "cpu")
        Console(soft_wrap=True, highlight=False).print(f"{', '.join(data.corrupted.types)}: {folder}", markup=False)
        return True
    except Exception as error:
        return complain(error)


def main() -> None:
    arguments = get_args_parser().parse_args()
    if arguments.help:
        print(__doc__)
        return
    try:
        check(arguments.overrides)
        if arguments.multirun:
            raise UserError("scripts/corrupt.py writes one set at a time: leave out -m.")
    except UserError as error:
        complain(error)
        sys.exit(1)
    done = []
    hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name="train")(
        lambda config: done.append(job(config))
    )()
    if not all(done):
        sys.exit(1)


if __name__ == "__main__":
    main()
