"""The papers' tables: each row's configuration beside the numbers that the paper prints. Torch is not imported here."""

from ensembles.papers.schema import CLAIMS, HOME, Column, Row, Table, load, names

__all__ = ["CLAIMS", "HOME", "Column", "Row", "Table", "load", "names"]
