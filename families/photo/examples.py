"""Draw the example faces of the page for families of photographed faces: samples, which are pictures of nobody.

python -m families.photo.examples
"""

from pathlib import Path

from PIL import Image

from pipeline import StyleCLIP
from pipeline.training.command import run

FOLDER = Path("webapp/examples/photographs")
FIRST_SEED, CHOSEN = 2_000_000, (15, 8, 57, 10, 47, 40, 30, 58)  # picked by eye for variety
PSI, SIZE, QUALITY = 0.7, 640, 90


def draw() -> None:
    """Write the pictures."""
    studio = StyleCLIP.from_pretrained("photo", device="cpu")
    FOLDER.mkdir(parents=True, exist_ok=True)
    for place, number in enumerate(CHOSEN):
        picture = studio.image(studio.sample(FIRST_SEED + number, PSI))
        picture.resize((SIZE, SIZE), Image.Resampling.LANCZOS).save(FOLDER / f"{place}.jpg", quality=QUALITY)


def main() -> None:
    """The command line."""
    run(draw)


if __name__ == "__main__":
    main()
