"""What every room uses: errors, files, seeds, progress, commands, the registry."""
