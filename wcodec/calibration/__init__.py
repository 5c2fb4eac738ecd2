"""What needs the network to run: data, evaluation, calibration, training. The only room that imports Keras."""
