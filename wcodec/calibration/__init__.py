"""Calibration: post-training quantisation by inputs without labels (Hessians, GPTQ, step search, codebooks)."""
