"""A paper's table or figure as runs: planned, run, and set beside the numbers that the paper prints."""
