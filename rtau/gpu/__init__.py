"""Crops of pictures through a model on a GPU: what is sampled there, and how batches travel."""
