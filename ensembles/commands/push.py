"""Share a finished run: weights, config, results and a card, in a folder or on the Hugging Face hub.

ensembles push runs/digits-small_cnn_4x-packed-e3f8119f shared/packed      # a folder, to be served or committed
ensembles push runs/digits-small_cnn_4x-packed-e3f8119f hf://me/packed     # after hf auth login
"""

import argparse
import sys
from pathlib import Path

from ensembles.cli import program
from ensembles.errors import complain


@program()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the run's folder")
    parser.add_argument("target", help="a folder, or hf://user/name")
    parser.add_argument("--by", metavar="NAME", help="who measured it, for the card")
    parser.add_argument("--at", metavar="URL", help="where others will find the folder, for the card")
    parser.add_argument("--note", metavar="TEXT", help="what else there is to say, for the card")
    arguments = parser.parse_args()
    try:
        from ensembles.zoo.sharing import push  # imports torch, which takes seconds

        card = push(**vars(arguments))
    except Exception as error:
        complain(error)
        sys.exit(1)
    print(f"{card.name} is in {arguments.target}: ensembles pull {card.weights or arguments.target}")
