"""The command line: one module for each verb. The only room that prints."""

from __future__ import annotations

from wcodec.cli.main import main

__all__ = ["main"]
