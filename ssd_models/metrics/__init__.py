"""Metrics of generated images and of denoising networks.

Nothing is downloaded but Inception weights, on request.
"""
