"""Training data of V and M: the episode store, frame batches, cached latents, sequences."""
