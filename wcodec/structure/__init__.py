"""The units of a Keras network: which positions of which weights live or die together, and networks without some."""
