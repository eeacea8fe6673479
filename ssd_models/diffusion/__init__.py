"""Diffusion process on tensors: degradations, marginals, reverse steps, the Gaussian field."""
