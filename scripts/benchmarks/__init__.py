"""The benchmarks: each measures one thing beside its rival, prints a table and writes JSON with the machine."""
