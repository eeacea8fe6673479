"""The Flexi-UNet: its blocks, its inputs, and where the files of a model are."""
