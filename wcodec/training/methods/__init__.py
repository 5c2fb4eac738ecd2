"""Training methods from the literature that make a network smaller: one in each file, with its source."""
