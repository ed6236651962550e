"""Runs that are shared: pushed, pulled without being trusted, evaluated again, and set beside each other."""
