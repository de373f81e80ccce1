"""Make what the photo family has beside its generator, resumably.

    python -m families.photo [PART ...] [--folder DIR]

Without parts all are made in turn; each goes on where it stopped, in the folder, `.cache/photo` unless told otherwise.
`face_labels` needs node 20. All parts run on one CPU core; the whole takes some hours.
"""

import argparse
import subprocess
import sys

from families.photo.samples import FOLDER

LABELS = ("face_labels", "labels")
TRAINED = ("preview", "clip", "reader", "identity", "landmarks", "encoder", "likeness")
PARTS = ("samples", *LABELS, "edited", *LABELS, *TRAINED)


def main() -> None:
    """Run the parts named on the command line, or all of them, stopping at the first that fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], metavar="PART", help=", ".join(dict.fromkeys(PARTS)))
    parser.add_argument("--folder", default=str(FOLDER))
    options = parser.parse_args()
    for part in options.parts or PARTS:
        print(f"== {part}", flush=True)
        command = [sys.executable, "-m", f"families.photo.{part}", "--folder", options.folder]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
