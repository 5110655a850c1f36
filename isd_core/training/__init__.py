"""What a training needs around the method: trainer, batches, averages, checkpoints, logs."""
