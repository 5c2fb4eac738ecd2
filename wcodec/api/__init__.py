"""The verbs in Python. The command line calls them too, and prints the results."""
