"""Flexi-UNet: blocks, embeddings, costs and model files."""
