"""Everything of the photo family but its generator: made from samples of that."""
