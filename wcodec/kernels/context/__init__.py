"""The context-adaptive level coder."""
