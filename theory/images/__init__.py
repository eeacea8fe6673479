"""Linear maps of images: resizes, blurs, scale space and pyramids."""
