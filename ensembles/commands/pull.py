"""Bring a shared run from a folder, a URL or the Hugging Face hub; each file is checked, and nothing of it runs.

ensembles pull https://example.org/packed
ensembles pull hf://user/name --to zoo/packed
"""

import argparse
import sys
from pathlib import Path

from ensembles.cli import program
from ensembles.errors import complain


@program()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="a folder, a URL of one, or hf://user/name")
    parser.add_argument("--to", type=Path, metavar="FOLDER", help="the folder to write (default: zoo/<the run's name>)")
    arguments = parser.parse_args()
    try:
        from ensembles.zoo.sharing import pull  # imports torch, which takes seconds

        folder = pull(arguments.source, arguments.to)
    except Exception as error:
        complain(error)
        sys.exit(1)
    print(f'In {folder}: ensembles.load("{folder}") in Python, or ensembles verify {folder}')
