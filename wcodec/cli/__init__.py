"""The command line: one module a verb. The only room that prints."""

from wcodec.cli.program import main

__all__ = ["main"]
