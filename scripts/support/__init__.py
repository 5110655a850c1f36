"""What benchmarks and experiments share: cells, launchers, command lines, tables, figures, example networks."""
