"""Simulated acquisitions: phantoms, phase, coils, masks, noise, and the protocols of the paper."""
