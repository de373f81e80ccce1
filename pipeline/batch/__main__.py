"""Edit the faces of many photos: python -m pipeline.batch PHOTOS ... --out FOLDER --words "make him smile"

PHOTOS are folders, patterns, files, and lists: a text file with a path a line, or JSON Lines or Parquet with the column
“photo” and, for texts of its own, words, target, neutral, mapper, style, prompt, paint and steps. The pictures and
results.jsonl, a row a face, go into FOLDER. Start the same command again to go on after a stop, and to try again what
failed.

Exit status: 0 when all photos are edited, 3 when some could not be, 1 when the command could not begin or go on, 130
after Ctrl-C.
"""

import argparse
import os
import sys

from tqdm import tqdm

from pipeline.batch.places import is_address
from pipeline.batch.run import FACES, Progress, edit_photos
from pipeline.batch.stages import FORMATS
from pipeline.models.registry import DEFAULT, family_row
from pipeline.ray_cluster import HERE
from pipeline.styleclip import StyleCLIP
from pipeline.training.command import GO_ON, run

SOME_FAILED = 3
SETTINGS = (
    "words target neutral mapper style recipe prompt paint steps faces paste tune format size workers ray".split()
)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    first, about = __doc__.split("\n\n", 1)
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.batch",
        description=first.partition(":")[0] + ".",
        epilog=about,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("photos", metavar="PHOTOS", nargs="+", help="folders, patterns, lists, files")
    parser.add_argument("--out", metavar="FOLDER", required=True, help="where pictures and rows go: a new folder")
    edit = parser.add_argument_group("what to do, one of")
    edit.add_argument("--words", metavar="TEXT", help="what should change, as in the page's field: “make him smile”")
    edit.add_argument("--target", metavar="TEXT", help="a global direction to this text …")
    edit.add_argument("--neutral", metavar="TEXT", help="… from this one; default: the model's, as “face”")
    edit.add_argument("--mapper", metavar="NAME", help="one of the model's mappers, or the file of one")
    edit.add_argument("--style", metavar="NAME", help="one of the model's styles, or the file of one")
    edit.add_argument("--recipe", metavar="FILE", help="the edits that the page has saved")
    edit.add_argument("--prompt", metavar="TEXT", help="latent optimization to this text")
    edit.add_argument("--paint", metavar="TEXT", help="paint the picture so, as “oil painting”; --neutral: what it is")
    edit.add_argument("--steps", metavar="N", type=int, help="of --prompt and --paint; default: the model's")
    how = parser.add_argument_group("how")
    how.add_argument("--faces", choices=FACES, default=FACES[0], help="of each photo; default: %(default)s")
    how.add_argument("--paste", action="store_true", help="the whole photo with the edit in it, not the aligned face")
    how.add_argument("--tune", action="store_true", help="tune the generator to each face first: minutes on a CPU")
    how.add_argument("--format", choices=FORMATS, default="png", help="of the pictures; default: %(default)s")
    how.add_argument("--size", metavar="N", type=int, help="pixels a side of the pictures, at most")
    how.add_argument("--model", metavar="NAME", default=DEFAULT, help="default: %(default)s")
    how.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:1; default: CUDA where there is one")
    how.add_argument("--workers", metavar="N", type=int, help="processes to find faces and write; default: one a core")
    ray = "on a cluster (host:6379, or auto), or by Ray on this machine; --workers are then the copies of the model"
    how.add_argument("--ray", metavar="ADDRESS", nargs="?", const=HERE, help=ray)
    return parser.parse_args(arguments)


def batch_command(arguments: list[str] | None = None) -> None:
    """Edit photos, with a bar; ends with status 3 where some could not be edited. Raises UserError."""
    options = _options(arguments)
    print(f"Loading the model “{family_row(options.model).title}”, which takes a moment.", file=sys.stderr)
    studio = StyleCLIP.from_pretrained(options.model, options.device)
    bar, notes = None, set()

    def progress(done: Progress) -> None:
        nonlocal bar
        if bar is None:  # in a terminal it moves; a log gets it every ten seconds
            bar = tqdm(total=done.total, unit="photo", mininterval=0.1 if sys.stderr.isatty() else 10)
        bar.update(bool(done.rows))
        for row in done.rows:
            told = [note for note in row["notes"] if note not in notes]
            notes.update(told)
            if row["error"]:
                told.append(f"{printable(row['input'])}: {row['error']}")
            for sentence in told:
                bar.write(sentence, file=sys.stderr)

    given = {name: getattr(options, name) for name in SETTINGS}
    try:
        done = edit_photos(studio, options.photos, options.out, progress=progress, **given)
    except KeyboardInterrupt:
        finished = f" with {bar.n} of {bar.total} photos finished" if bar else ""
        raise KeyboardInterrupt(f"Stopped{finished}; {GO_ON}.") from None
    finally:
        if bar:
            bar.close()
    print(f"{done.edited} edited, {done.failed} not, {done.done_before} done before: {done.results}")
    if done.failed:
        sys.exit(SOME_FAILED)


def printable(path: str) -> str:
    """A path on one line; file systems allow names of any bytes."""
    short = path if is_address(path) else min(path, os.path.relpath(path), key=len)
    return "".join(c if c.isprintable() else "�" for c in short)


def main() -> None:
    """The command line."""
    run(batch_command)


if __name__ == "__main__":
    main()
