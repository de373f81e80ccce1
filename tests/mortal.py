"""A stage of a batch that dies with some photos, as one does that takes too much memory. The workers import it."""

import os

from pipeline.batch import stages


def find_faces(photo, search):
    if "deadly" in photo:
        os._exit(9)
    return stages.find_faces(photo, search)
