"""Scale-space diffusion models in torch."""
