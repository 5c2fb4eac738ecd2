"""The lossless coder of numbers."""
