"""Files for the browser: written into Gradio's cache, from which `webapp.cleanup` clears what is older than an hour."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from io import BytesIO
from pathlib import Path

from gradio.utils import get_upload_folder
from PIL import Image

from pipeline.errors import UserError

_OURS = secrets.token_bytes(16)  # so that no other process has files of the same name, or can guess them

OWN_FOLDER = "styleclip-studio"  # how the name of the folder begins that app.py chooses


def make_private(folder: Path) -> None:
    """Make the folder for visitors' files, which no other account of the machine can read.

    Raises UserError where it can't be made or written to, and where one that app.py chose is a link or somebody else's.
    """
    other = "please name another folder in GRADIO_TEMP_DIR."
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.name.startswith(OWN_FOLDER):
            if folder.is_symlink() or (hasattr(os, "getuid") and folder.lstat().st_uid != os.getuid()):
                raise UserError(f"The folder for visitors' files, {folder}, belongs to somebody else; {other}")
            folder.chmod(0o700)
        usable = os.access(folder, os.R_OK | os.W_OK | os.X_OK)
    except OSError:
        usable = False
    if not usable:
        raise UserError(f"The folder for visitors' files, {folder}, can't be made or written to; {other}")


def on_screen(picture: Image.Image) -> str:
    """Write a picture for the page, and give its path.

    A JPEG of this quality looks like the original and takes a hundredth of the time that Gradio's PNG takes; what is
    downloaded is drawn anew all the same.
    """
    data = BytesIO()
    picture.save(data, "JPEG", quality=95, subsampling=0)
    path = Path(get_upload_folder()) / hashlib.sha256(_OURS + data.getvalue()).hexdigest() / "image.jpg"
    path.parent.mkdir(parents=True, exist_ok=True)
    begun = path.with_suffix(f".{secrets.token_hex(4)}")
    try:
        begun.write_bytes(data.getvalue())
        begun.replace(path)  # whole at once: another visitor may be looking at the same picture
    except OSError:
        begun.unlink(missing_ok=True)
        raise
    return str(path)


def new_file(name: str) -> Path:
    """The path of a file to write, in a folder that nobody can guess."""
    folder = Path(get_upload_folder()) / secrets.token_hex(8)
    folder.mkdir(parents=True)
    return folder / name


def file_name(text: str) -> str:
    """A text as a harmless file name, without an ending."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:48] or "edit"
