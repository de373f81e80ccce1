"""Stages of a batch that fail: with a photo that takes the process along, and on a disk that is full. Workers import it."""

import errno
import os

from pipeline.batch import stages


def find_faces(photo, search):
    if "deadly" in photo:
        os._exit(9)
    return stages.find_faces(photo, search)


def write_picture(image, path, size):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
