"""Write a corrupted copy of a test set in the layout of CIFAR-10-C, for data.corrupted.source=written to read back.

ensembles corrupt data=cifar100
ensembles corrupt data=image_folder data.root=photos data.corrupted.types=all

Types that are there already are left as they are, so an interrupted command can be given again.
"""

from ensembles.cli import command_parser, program
from ensembles.cli.composing import checked
from ensembles.cli.overrides import check, combinations


@program()
def main() -> None:
    parser = command_parser(__doc__)
    parser.add_argument(
        "overrides", nargs="+", help="of ensembles train: data=option, data.key=value; several sets: a,b"
    )
    parser.add_argument("-cd", "--config-dir", help="a folder of your own configs")
    arguments = parser.parse_args()
    check(arguments.overrides, arguments.config_dir)
    for _, config in combinations(arguments.overrides, arguments.config_dir):
        corrupt(checked(config))


def corrupt(config: dict) -> None:
    """Write the copy of a composed config's test set."""
    import torch

    from ensembles import build
    from ensembles.data.corrupted import write_corrupted

    data = build.call(config["data"], batch_size=1, seed=config["seed"])
    on_gpu = torch.cuda.is_available() and config["trainer"]["accelerator"] != "cpu"
    folder = write_corrupted(data, "cuda" if on_gpu else "cpu")
    print(f"{folder}: {', '.join(data.corrupted.types)}")
