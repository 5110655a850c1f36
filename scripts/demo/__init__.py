"""The demo: its stages, its films and its report, as the commands that a user would type."""
