"""Episodes of a policy, in threads, processes or a cluster, and what is said of their results."""
