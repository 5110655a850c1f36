"""What `scripts/benchmarks/reliability.py` does to files, processes and servers, part by part."""
