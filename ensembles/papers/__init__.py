"""The papers' tables: each row's configuration beside the numbers that the paper prints. Torch is not imported here."""

from ensembles.papers.schema import Column
from ensembles.papers.table import CLAIMS, HOME, Row, Table, load, names

__all__ = ["CLAIMS", "HOME", "Column", "Row", "Table", "load", "names"]
