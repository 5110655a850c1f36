"""What steps a task: robosuite's own loop, the compiled one, Push-T."""
