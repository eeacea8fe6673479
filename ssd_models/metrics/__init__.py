"""How good generated images are, and how well a network denoises; nothing is downloaded."""
