"""The photo family's model card, `checkpoints/photo/README.md`, from what its parts measured.

python -m families.photo.card [--folder DIR]
"""

from pathlib import Path

from families.photo.samples import part_parser
from pipeline.errors import UserError
from pipeline.training.command import run

CHECKPOINTS = Path("checkpoints/photo")
SECTIONS = {
    "labels": "Labels: how well linear probes in W tell them, in cross-validation",
    "preview": "Preview (256 px from the features at 128 px), against the whole picture",
    "parts": "Reader of parts, where groups of features were named, on held-out samples",
    "clip": "CLIP: zero-shot accuracy on held-out samples",
    "reader": "Attribute reader (judges edits; no method uses it), on held-out samples",
    "identity": "Identity network, on held-out samples",
    "landmarks": "Landmarks (dlib)",
    "encoder": "Encoder after learning codes, on held-out samples",
    "likeness": "Encoder after learning from pictures too, which is the one here",
    "csla": "Alignment (CSLA), on held-out samples",
}
TEXT = """# Photographed faces

What the family `photo` has beside its generator. The generator itself is not here: it is MobileStyleGAN (Belousov
2021, arXiv 2104.04767), StyleGAN2-FFHQ distilled into 8 M parameters, and comes from the wheel `random-face`
2021.7.21.1 on the package index, as its author published it.

**How they were made.** By this repository alone (`python -m families.photo`): faces that the generator makes
up, labelled by eye (`families/photo/eye_labels.csv`) and by face-api (MIT); the labels spread to all samples
by linear probes in W, and everything else trained on these samples on a CPU. No photograph of a person went in.

**What they can't do.** CLIP knows the words of `families/sayings.py` for what was labelled, and no names. A
face is one code w, so what the generator never drew, a hand before the face or a second person, is lost until the
generator is tuned to the photo. It was taught by FFHQ: faces of some ages, colours and countries are drawn worse than
others.

**Licence.** The files here are under the MIT licence, as the code. The generator is Apache-2.0 by its author; its
teacher, NVIDIA's StyleGAN2-FFHQ, is under the NVIDIA Source Code License-NC, so treat pictures as not for commercial
use.

## Measured

Values that none of the held-out samples has are shown as nan.

"""


def write(folder: Path) -> None:
    """Write the card. Raises UserError before all parts have measured."""
    card = TEXT
    for part, title in SECTIONS.items():
        if not (path := folder / f"{part}.md").is_file():
            raise UserError(f"The part {part} has measured nothing yet; please run it first.")
        card += f"### {title}\n\n{path.read_text(encoding='utf-8').rstrip()}\n\n"
    files = [path for path in sorted(CHECKPOINTS.rglob("*.*")) if path.suffix != ".md"]
    rows = [f"| {path.name} | {path.stat().st_size / 1e6:.2f} MB |" for path in files]
    card += "\n".join(["### Files", "", "| | |", "|---|---|", *rows])
    (CHECKPOINTS / "README.md").write_text(card + "\n", encoding="utf-8")


def main() -> None:
    """The command line."""
    options = part_parser(__doc__).parse_args()
    run(lambda: write(options.folder))


if __name__ == "__main__":
    main()
