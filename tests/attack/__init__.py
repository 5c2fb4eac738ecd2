"""Shared parts of the tests of hostile files: taking a container apart, and changing it in many ways."""
