"""Bits and nats of noisy images: bounds, what changes cost, what denoisers find."""
