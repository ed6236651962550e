"""What stands between the command line and a run. Torch is not imported here."""

from pathlib import Path

from ensembles import recipes  # noqa: F401  its resolver, and the source, are known before any config is composed
from ensembles.cli import paper_rows  # noqa: F401

CONFIGS = Path(__file__).parents[2] / "configs"
