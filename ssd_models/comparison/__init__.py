"""Comparing schedules by what networks trained on them do: one configuration, many arms."""
