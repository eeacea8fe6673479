"""What `ssd bench` measures: schedules, spectra, samplers, the network and its training step."""
