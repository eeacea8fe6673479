"""Files, paths, seeds, progress and the one error for bad input: what every room uses."""
