"""Door: jobs, schedules, mail, and the power loop."""
