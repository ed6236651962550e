"""What the papers' figures show, computed from trained ensembles; `ensembles.analysis.series` has what they share."""
