"""What prepares a machine: the environment, the checks before it, the wheel, images in class folders."""
