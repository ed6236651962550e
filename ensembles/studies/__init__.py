"""Comparisons of this project's own: rows that are experiments, several seeds of each, and what they show."""
