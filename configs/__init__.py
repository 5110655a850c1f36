"""The hydra configs: one root file a command, one folder a group."""
