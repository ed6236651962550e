"""The papers' tables: each row's configuration beside the numbers that the paper prints. Torch is not imported here."""

from ensembles.papers.reading import CLAIMS, HOME, load, names
from ensembles.papers.tables import Column, Row, Table

__all__ = ["CLAIMS", "HOME", "Column", "Row", "Table", "load", "names"]
