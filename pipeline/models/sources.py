"""Where the file of a model comes from, and its place on this machine."""

import hashlib
import os
import re
from pathlib import Path
from typing import Annotated

import huggingface_hub
from huggingface_hub import constants
from huggingface_hub.utils import validate_repo_id
from pydantic import BaseModel, Field, model_validator

LIBRARY = "styleclip-studio"
LONGEST_NAME = 200  # bytes of a file's name; file systems take 255, and a download adds to it
CONTROL = "[\\x00-\\x1f]"  # characters
Bytes = Annotated[int, Field(ge=1)]


def is_name(path: str) -> bool:
    """Whether a text is on one line, and no part of it, as a path, is too long for the name of a file."""
    return not re.search(CONTROL, path) and all(len(p.encode()) <= LONGEST_NAME for p in Path(path).parts)


class Source(BaseModel, strict=True, extra="forbid", frozen=True):
    """Where a file comes from: `path` on this machine, or `repo` on the Hub, `drive` (an id) or `url`, or `wheel`, a
    package of the user's package index, in its `version`.

    `file` is its path in the repository, or its name elsewhere. `size` in bytes, `sha256` and `git_blob` (the id that
    git gives the content) are checked where known; `about` is a size to show where `size` is not known.
    """

    path: Path | None = None
    repo: str | None = None
    file: str = ""
    revision: str | None = None
    drive: str | None = None
    url: str | None = None
    wheel: str | None = None
    version: str | None = None
    size: Bytes | None = None
    about: Bytes | None = None
    sha256: str | None = None
    git_blob: str | None = None

    @model_validator(mode="after")
    def _check(self) -> "Source":
        for name, value in self:
            if name != "path" and re.search(CONTROL, str(value)):
                raise ValueError(f"the “{name}” of a source is a text on one line")
        if not is_name(self.file):
            raise ValueError("the “file” of a source is too long for a name of a file")
        if [self.path, self.repo, self.drive, self.url, self.wheel].count(None) != 4:
            raise ValueError("a source has one of path, repo, drive, url and wheel")
        if self.wheel and not (self.version and re.fullmatch(r"[\w.-]+==[\w.+!]+", self.requirement, re.A)):
            raise ValueError("a wheel has the name of its package and a version")
        if self.wheel and not re.fullmatch("[0-9a-fA-F]{64}", self.sha256 or ""):
            raise ValueError("a wheel has its SHA-256, because any index may have one of that name")
        if not (self.path or Path(self.file).name):
            raise ValueError("a source on the net has the name of its file")
        if any(".." in Path(value).parts or value.startswith("/") for value in (self.file, self.revision or "")):
            raise ValueError("the file and revision of a source stay inside its repository")
        if self.repo:
            validate_repo_id(self.repo)
        return self

    @property
    def name(self) -> str:
        """What people know the file by."""
        return self.path.name if self.path else Path(self.file).name

    @property
    def origin(self) -> str:
        """Where it comes from, in words."""
        if self.repo:
            return f"{constants.ENDPOINT}/{self.repo}"
        if self.wheel:
            return f"the package index ({self.requirement})"
        return str(self.path) if self.path else self.url or f"Google Drive ({self.drive})"

    @property
    def requirement(self) -> str:
        """A wheel as pip knows it: NAME==VERSION."""
        return f"{self.wheel}=={self.version}"

    def here(self) -> Path | None:
        """The file's place on this machine, or None when it must be fetched. Asks no network."""
        if self.repo:
            found = huggingface_hub.try_to_load_from_cache(self.repo, self.file, revision=self.revision)
            return Path(found) if isinstance(found, str) else None
        place = self.path or self.download_path()
        return place if os.path.isfile(place) else None  # noqa: PTH113  # a folder that is closed to us has none

    def download_path(self) -> Path:
        """Where a file that is not on the Hub is kept, in the Hub's own cache for such things."""
        address = self.drive or self.url or (self.requirement if self.wheel else f"{self.repo}/{self.file}")
        key = hashlib.sha256(address.encode()).hexdigest()[:12]
        return asset("downloads") / f"{key}-{self.name}"


def asset(folder: str) -> Path:
    """A folder of ours in the Hub's cache; whoever writes there makes it."""
    return Path(constants.HF_ASSETS_CACHE) / LIBRARY / folder / "files"
