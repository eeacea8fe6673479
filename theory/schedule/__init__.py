"""From a noise schedule to the resolution, signal and noise of every step, and what they cost."""
