"""Pictures of schedules and of measured information."""
