"""What turns a bare machine into results: the environment, the demo, its report. Thin; the packages do the work."""
