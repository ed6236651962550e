"""Train, test and report one ensemble, from a checkout: ``python train.py method=packed``, as ``ensembles train``.

The commands in scripts/ are links to this file: ``python scripts/report.py runs`` is ``ensembles report runs``.
"""

from pathlib import Path

from ensembles.commands import run


def main() -> None:
    run(Path(__file__).stem)


if __name__ == "__main__":
    main()
