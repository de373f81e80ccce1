"""Stages of a batch that fail, which workers and actors import: some die with some photos, some find the disk full."""

import errno
import os

from pipeline.batch import on_ray, rows, stages


def find_faces(photo, search):
    if "deadly" in photo:
        os._exit(9)
    return stages.find_faces(photo, search)


def write_picture(image, path, size):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def find_packed(row, search):
    if b"deadly-to-find" in row["task"]:
        os._exit(9)
    return stages.find_packed(row, search)


class ModelActor(on_ray.ModelActor):
    """Dies with some photos."""

    def __call__(self, row):
        if b"deadly-to-draw" in row["task"]:
            os._exit(9)
        return super().__call__(row)


class ActorOfFullDisk(on_ray.ModelActor):
    """Can't write."""

    def __call__(self, row):
        rows.write_picture = write_picture
        return super().__call__(row)
