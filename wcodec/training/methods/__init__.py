"""Methods of the literature by which a network is trained smaller: each in a file of its own, with its source."""
