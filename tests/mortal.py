"""Stages of a batch that fail, which workers import: one dies with some photos, one finds the disk full."""

import errno
import os

from pipeline.batch import stages


def find_faces(photo, search):
    if "deadly" in photo:
        os._exit(9)
    return stages.find_faces(photo, search)


def write_picture(image, path, size):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
