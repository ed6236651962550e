"""What the papers claim, and what the results at hand say of it."""
