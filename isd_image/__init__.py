"""Images: data, codecs, class-conditional transformers, training, sampling and evaluation on the shared core."""
