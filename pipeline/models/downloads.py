"""Getting a model's file onto this machine, whole and unaltered: from a folder, the Hub, Google Drive, a URL or
the package index."""

import contextlib
import errno
import glob
import hashlib
import io
import re
import shutil
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import gdown
import httpx2
import huggingface_hub
import requests
from filelock import FileLock
from gdown.exceptions import DownloadError, FileURLRetrievalError
from huggingface_hub import constants, errors
from huggingface_hub.file_download import http_get, repo_folder_name
from huggingface_hub.utils import build_hf_headers, tqdm

from pipeline.errors import UserError
from pipeline.models.sources import Source
from pipeline.models.weights import is_web_page
from pipeline.models.wheels import WheelError, download_wheel

Progress = Callable[[str, int, int | None], None]
"""Called with a file's name, the bytes that are here, and the bytes that it has (None where that is not known)."""

TIMEOUT = 30.0  # seconds without a byte
RETRIES = 5
RESERVE = 50 * 2**20  # bytes of the disk that a download leaves free
ELSEWHERE = "or name another source for it in a models file (STYLECLIP_MODELS)"


def fetch(source: Source, progress: Progress | None = None) -> Path:
    """The file on this machine, downloaded if need be: resumed after a cut, checked, and never half there.

    Without `progress` a bar is drawn in the terminal. Raises UserError, with one sentence that names the file and what
    to do, when it cannot be had or is not what it should be.
    """
    if path := source.here():
        return path
    if source.path:
        wrong = "is a folder; name the file in it" if source.path.is_dir() else "is missing; put it there"
        raise UserError(f"The file {source.path} {wrong}, or name another place for it in models.toml.")
    try:
        source.download_path().parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{source.download_path()}.lock"):
            if path := source.here():  # another process was fetching it
                return path
            _first_digest(source.download_path()).unlink(missing_ok=True)  # of an earlier file, which is gone
            _check_space(source)
            get = _from_hub if source.repo else _from_index if source.wheel else _from_web
            path = get(source, progress)
            verify(source, path)
            return path
    except OSError as error:
        if _errno(error) in (errno.ENOSPC, errno.EDQUOT):
            raise _full(source) from error
        if _errno(error) in _NOT_WRITABLE:
            raise UserError(
                f"{source.name} can't be kept in {_folder(source)}, where nothing can be written; set HF_HOME to a "
                "folder of your own."
            ) from error
        raise


_NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EEXIST)


def verify(source: Source, path: Path) -> str:
    """The SHA-256 of a file. Raises UserError, and removes a download, when it is not the file that it should be."""
    digest, wrong = flaw(source, path)
    if wrong:
        if source.path:
            raise UserError(f"The file {path} {wrong}; please put the original there.")
        for place in (path.resolve(), path, _first_digest(path)):
            with contextlib.suppress(OSError):
                place.unlink(missing_ok=True)
        done = f"please delete {path} and" if path.exists() else "so it was removed;"
        raise UserError(f"What {source.origin} sent as {source.name} {wrong}, {done} try again later, {ELSEWHERE}.")
    if not (source.path or source.repo):
        _first_digest(path).write_text(digest)
    return digest


def _first_digest(path: Path) -> Path:
    """Where the SHA-256 of a file that has none of its own is kept: that of its first download."""
    return path.with_name(path.name + ".sha256")


def flaw(source: Source, path: Path) -> tuple[str, str | None]:
    """The SHA-256 of a file, and what is wrong with it, in words that go after its name, or None."""
    actual = {"sha256": _hash(path, hashlib.sha256())}
    digest, size = actual["sha256"], path.stat().st_size
    with path.open("rb") as file:
        if is_web_page(file.read(512)):
            return digest, "is a web page"  # to log in, say, which a server sends as if it were the file
    if source.size and size != source.size:
        return digest, f"has {size:,} bytes instead of {source.size:,}"
    if source.git_blob:
        actual["git_blob"] = _hash(path, hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False))
    if any(actual[kind] != wanted for kind, wanted in _expected(source, path).items()):
        return digest, "is not the file that was published (its checksum differs)"
    return digest, None


def digest(source: Source, path: Path) -> str:
    """The SHA-256 of a file: what it was verified against, where there is that, else computed once."""
    stat = path.resolve().stat()
    return _expected(source, path).get("sha256") or _hashed(path.resolve(), stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=256)
def _hashed(path: Path, size: int, changed: int) -> str:
    """`size` and `changed` tell when a file has become another."""
    return _hash(path, hashlib.sha256())


def _hash(path: Path, started: Any) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: started).hexdigest()


def _expected(source: Source, path: Path) -> dict[str, str]:
    """Checksums that hold for a file: those of its row; else what the Hub says, or what the first download was."""
    in_row = {kind: value.lower() for kind in ("sha256", "git_blob") if (value := getattr(source, kind))}
    if in_row:
        return in_row
    if (first := _first_digest(path)).is_file():
        return {"sha256": first.read_text()}
    etag = path.resolve().name if source.repo else ""  # the Hub's cache names a large file by its SHA-256
    return {"sha256": etag} if len(etag) == 64 else {}


def _from_hub(source: Source, progress: Progress | None) -> Path:
    name, repo = source.name, source.repo
    try:
        _fill_cache(source, _bar(name, progress) if progress else None)
        return Path(huggingface_hub.hf_hub_download(repo, source.file, revision=source.revision))
    except errors.GatedRepoError as error:
        raise UserError(
            f"{name} is only given to those who agree to its terms: do so at {source.origin}, log in with "
            f"`hf auth login`, and try again."
        ) from error
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled, *_NOT_CONNECTED) as error:
        raise _unreachable(source) from error
    except errors.RepositoryNotFoundError as error:
        raise _refused(source) from error
    except (errors.EntryNotFoundError, errors.RevisionNotFoundError) as error:
        raise UserError(f"{name} is not in {source.origin} any more; please report this, {ELSEWHERE}.") from error
    except errors.HfHubHTTPError as error:
        if error.response.status_code in (401, 403):
            raise _refused(source) from error
        raise _broken(source) from error
    except (errors.FileMetadataError, httpx2.HTTPError) as error:
        raise _broken(source) from error
    except OSError as error:
        if "Consistency check" in str(error):  # the size is not the one announced
            raise _broken(source) from error
        raise


_NOT_CONNECTED = (httpx2.ConnectError, httpx2.ConnectTimeout)


def _fill_cache(source: Source, bar: type[tqdm] | None) -> None:
    """Put the content of a file where the Hub's client looks for what it has, going on where an earlier try stopped.

    `hf_hub_download` itself deletes what has come when a download is cancelled, and may use Xet, whose failures have no
    names.
    """
    url = huggingface_hub.hf_hub_url(source.repo, source.file, revision=source.revision)
    metadata = huggingface_hub.get_hf_file_metadata(url)
    if not re.fullmatch("[0-9a-f]{40,64}", metadata.etag or ""):  # it becomes the name of a file
        raise errors.FileMetadataError("no checksum")
    blobs = _blobs(source)
    blobs.mkdir(parents=True, exist_ok=True)
    blob, part = blobs / metadata.etag, blobs / f"{source.download_path().name}.{metadata.etag}.part"
    if blob.exists():
        return
    with part.open("ab") as file:
        if metadata.size is not None and file.tell() > metadata.size:
            file.truncate(0)
        http_get(
            url,
            file,
            resume_size=file.seek(0, io.SEEK_END),
            headers=build_hf_headers(),
            expected_size=metadata.size,
            displayed_filename=source.name,
            tqdm_class=bar,
        )
    part.rename(blob)


def _blobs(source: Source) -> Path:
    """Where the Hub's cache keeps the contents of a repository's files, by their checksums."""
    return Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=source.repo, repo_type="model") / "blobs"


def _from_web(source: Source, progress: Progress | None) -> Path:
    path, parts = source.download_path(), _parts(source)
    options: dict[str, Any] = {"id": source.drive} if source.drive else {"url": source.url}
    if progress:
        options["progress"] = lambda done, total: progress(source.name, done, total)
    try:
        gdown.download(
            output=str(path),
            quiet=progress is not None,
            resume=True,
            use_cookies=False,
            timeout=TIMEOUT,
            retries=RETRIES,
            **options,
        )
    except requests.HTTPError as error:
        code = error.response.status_code
        raise UserError(
            f"{source.name} can't be had: {source.origin} answered “{code}”; try again later, {ELSEWHERE}."
        ) from error
    except FileURLRetrievalError as error:
        raise UserError(
            f"Google Drive does not hand out {source.name} now (it limits how often); try again tomorrow, or fetch "
            f"https://drive.google.com/uc?id={source.drive} in a browser and name its place in a models file "
            "(STYLECLIP_MODELS)."
        ) from error
    except (DownloadError, requests.RequestException) as error:
        if parts and re.search("byte range|multiple temporary files", str(error)):  # for gdown, now and for ever
            for part in parts:
                part.unlink(missing_ok=True)
            return _from_web(source, progress)
        unanswered = isinstance(error.__cause__ or error, requests.ConnectionError)
        raise (_unreachable if unanswered else _broken)(source) from error
    return path


def _from_index(source: Source, progress: Progress | None) -> Path:
    path = source.download_path()
    with tqdm(total=source.size, unit="B", unit_scale=True, desc=source.name, disable=progress is not None) as bar:

        def report(done: int) -> None:
            if progress:
                progress(source.name, done, source.size)
            bar.update(done - bar.n)

        try:
            download_wheel(source.requirement, path, report)
        except WheelError as error:
            raise _no_wheel(source, str(error)) from error
    return path


def _no_wheel(source: Source, message: str) -> UserError:
    """A UserError for what pip said when it could not get a wheel."""
    if "No space left" in message:
        return _full(source)
    if "No module named pip" in message:
        return UserError(
            f"{source.name} is fetched by pip, which this Python lacks; run python -m ensurepip and try again."
        )
    return UserError(
        f"{source.name} is not on this machine yet, and pip can't get {source.requirement} from the package index; "
        "check the network and pip's settings (python -m pip config list) and try again."
    )


def _bar(name: str, progress: Progress) -> type[tqdm]:
    """A bar for huggingface_hub that draws nothing and reports to `progress`."""

    class Bar(tqdm):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **{**options, "file": io.StringIO(), "disable": False})

        def update(self, n: float | None = 1) -> bool | None:
            shown = super().update(n)
            progress(name, int(self.n), self.total)
            return shown

    return Bar


def _folder(source: Source) -> Path:
    """Where a download goes."""
    return _blobs(source) if source.repo else source.download_path().parent


def _parts(source: Source) -> list[Path]:
    """What earlier tries have left of a download."""
    return list(_folder(source).glob(f"{glob.escape(source.download_path().name)}*.part"))


def _check_space(source: Source) -> None:
    size = source.size or source.about
    if not size:
        return
    missing = size - max((part.stat().st_size for part in _parts(source)), default=0)
    folder = _folder(source)
    while not folder.exists():
        folder = folder.parent
    if shutil.disk_usage(folder).free < missing + RESERVE:
        raise _full(source)


def _full(source: Source) -> UserError:
    size = f" ({(source.size or source.about) / 1e6:,.0f} MB)" if source.size or source.about else ""
    return UserError(
        f"There is no room for {source.name}{size} on the disk with {_folder(source)}; free some, or set HF_HOME "
        "to a folder on a larger disk."
    )


def _refused(source: Source) -> UserError:
    return UserError(
        f"{source.name} can't be had: {source.origin} is gone or private; log in with `hf auth login` if you may, "
        f"{ELSEWHERE}."
    )


def _unreachable(source: Source) -> UserError:
    return UserError(
        f"{source.name} is not on this machine yet, and {source.origin} can't be reached; check the network "
        "(HF_HUB_OFFLINE must not be set) and try again."
    )


def _broken(source: Source) -> UserError:
    return UserError(f"The download of {source.name} broke off; please check the network and try again.")


def _errno(error: BaseException | None) -> int | None:
    """The number of the operating system's error that an exception is, or comes from."""
    while error is not None:
        if isinstance(error, OSError) and error.errno:
            return error.errno
        error = error.__cause__ or error.__context__
    return None
