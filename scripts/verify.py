"""Call ``ensembles verify`` from a checkout, which need not be installed."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from ensembles.commands import run

if __name__ == "__main__":
    run("verify")
