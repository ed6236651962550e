"""``python -m ensembles``: the command ``ensembles``."""

from ensembles.commands import main

if __name__ == "__main__":
    main()
