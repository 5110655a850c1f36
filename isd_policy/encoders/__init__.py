"""From observations to the conditioning vector of a network; each is a config of the group `encoder`."""
