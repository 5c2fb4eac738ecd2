"""Shared parts of the tests of hostile files: the fields of a container, and modifications of files."""
