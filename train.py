"""Train, test and report one ensemble, from a checkout: ``python train.py method=packed``, as ``ensembles train``."""

from ensembles.commands import run


def main() -> None:
    run("train")


if __name__ == "__main__":
    main()
