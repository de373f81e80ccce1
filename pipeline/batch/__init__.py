"""Many photos at once: `python -m pipeline.batch`, or `edit_photos` from Python."""
