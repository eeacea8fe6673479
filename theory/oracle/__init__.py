"""Exact errors of schedules and samplers on Gaussian data; steps and plans chosen by them."""
