"""The search for the levels of least rate and distortion."""
