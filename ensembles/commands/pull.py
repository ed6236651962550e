"""Bring a shared run from a folder, a URL or the Hugging Face hub; each file is checked, and nothing of it runs.

ensembles pull https://example.org/packed
ensembles pull hf://user/name --to zoo/packed
"""

from pathlib import Path

from ensembles.cli import command_parser, program


@program()
def main() -> None:
    parser = command_parser(__doc__)
    parser.add_argument("source", help="a folder, a URL of one, or hf://user/name")
    parser.add_argument("--to", type=Path, metavar="FOLDER", help="the folder to write (default: zoo/<the run's name>)")
    arguments = parser.parse_args()
    from ensembles.zoo.sharing import pull  # imports torch, which takes seconds

    folder = pull(arguments.source, arguments.to)
    print(f'In {folder}: ensembles.load("{folder}") in Python, or ensembles verify {folder}')
