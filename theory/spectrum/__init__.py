"""A dataset's power by frequency and colour: measuring it, merging it, what it says of the data."""
