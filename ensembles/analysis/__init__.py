"""What the papers' figures show, computed from trained ensembles; `ensembles.analysis.drawing` has what they share."""
