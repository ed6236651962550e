"""Runs as jobs of a cluster: settings that agree, submission, and what a job does when its machine is taken away."""
