"""The structure of a Keras network: which positions of which weights form a unit, and networks without some units."""
