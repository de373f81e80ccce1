"""What sampled faces look like to CLIP, and how their styles go with it: what exchanges read (methods/exchange.py).

    python -m pipeline.training.looks [--model NAME | --generator FILE] [--faces N] [--output FILE]

Faces are sampled and drawn, and CLIP embeds the pictures. Started again after a cut, it goes on where it was.
"""

import time
from pathlib import Path

from pipeline.methods.exchange import Looks, looks_of
from pipeline.models.measured import settings_of
from pipeline.models.registry import Row
from pipeline.models.sources import asset
from pipeline.training.command import GO_ON, family_and_file, family_parser, process_device, run
from pipeline.training.frozen import load_frozen_models
from pipeline.training.pairs import sample_pairs
from pipeline.training.partial import write

FACES = 4_000


def write_looks(looks: Looks, path: Path, row: Row) -> None:
    """Write the file of a family's row, in half precision."""
    state = {"seen": looks.embeddings, "styles": looks.regression}
    write({name: value.half().contiguous() for name, value in state.items()}, path, settings_of("looks", row))


def looks_command(arguments: list[str] | None = None) -> Path:
    """Sample a family's faces and write the file; its path.

    Raises UserError, also when the family has such a file and no other one is named for this one.
    """
    parser = family_parser(__doc__.splitlines()[0])
    parser.add_argument("--faces", type=int, default=FACES, help="to sample (%(default)s)")
    options = parser.parse_args(arguments)
    row, path, use = family_and_file(options, "looks", "the looks")
    models = load_frozen_models(row.name, device=process_device())
    if options.faces <= models.clip.text_projection.shape[1]:
        parser.error("more faces than CLIP's embedding has dimensions")
    kept, told, done = asset("looks") / f"{row.name}-{models.digest()}.pairs", time.monotonic(), 0

    def progress(count: int) -> None:
        nonlocal told, done
        done = count
        if time.monotonic() - told > 10:
            told = time.monotonic()
            print(f"{count} of {options.faces} faces", flush=True)

    try:
        pairs = sample_pairs(models, options.faces, progress=progress, path=kept)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"Stopped at {done} of {options.faces} faces; {GO_ON}.") from None
    write_looks(looks_of(models.generator, pairs.w, pairs.features), path, row)
    kept.unlink()
    print(f"wrote {path}: {options.faces} faces\n{use}")
    return path


def main() -> None:
    """The command line."""
    run(looks_command)


if __name__ == "__main__":
    main()
