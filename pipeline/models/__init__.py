"""The model families on disk: which there are, how their files are fetched, read and made into networks."""
