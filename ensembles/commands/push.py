"""Share a finished run: weights, config, results and a card, in a folder or on the Hugging Face hub.

ensembles push runs/digits-small_cnn_4x-packed-e3f8119f shared/packed      # a folder, to be served or committed
ensembles push runs/digits-small_cnn_4x-packed-e3f8119f hf://me/packed     # after hf auth login
"""

from pathlib import Path

from ensembles.cli import command_parser, program


@program()
def main() -> None:
    parser = command_parser(__doc__)
    parser.add_argument("run", type=Path, help="the run's folder")
    parser.add_argument("target", help="a folder, or hf://user/name")
    parser.add_argument("--by", metavar="NAME", help="who measured it, for the card")
    parser.add_argument("--at", metavar="URL", help="where others will find the folder, for the card")
    parser.add_argument("--note", metavar="TEXT", help="what else there is to say, for the card")
    arguments = parser.parse_args()
    from ensembles.zoo.sharing import push  # imports torch, which takes seconds

    card = push(**vars(arguments))
    print(f"{card.name} is in {arguments.target}: ensembles pull {card.weights or arguments.target}")
