"""Slow, obvious Python versions of the kernels."""
