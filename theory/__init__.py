"""Theory of scale-space diffusion, in float64 numpy."""
