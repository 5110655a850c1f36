"""Any gymnasium environment whose actions are numbers: by its id, by a registered name, or from a function."""
