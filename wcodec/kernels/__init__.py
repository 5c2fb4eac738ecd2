"""Compiled loops over arrays: arrays in, caller-allocated arrays out. They import nothing of ours."""
