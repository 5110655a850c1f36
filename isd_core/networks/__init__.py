"""Networks that both heads build from."""
