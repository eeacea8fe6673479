"""Sampling: samplers, guidance, editing, the pipeline and model directories."""
