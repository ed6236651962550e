"""What a person reads after a run: tables and plots, from results and logits alone."""
