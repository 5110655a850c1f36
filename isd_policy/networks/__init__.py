"""Networks over action chunks [B, horizon, action size]; each is a config of the group `network`."""
