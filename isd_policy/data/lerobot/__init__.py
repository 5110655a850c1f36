"""LeRobot's data sets (v3.0, and v2.1 to read) by pyarrow and PyAV, without LeRobot itself."""
