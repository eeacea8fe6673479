"""From noise to images: samplers, guidance, editing, the pipeline and model directories."""
