"""Draw the example faces of the page, as photographs with some room around the head.

python -m families.drawn.examples
"""

from pathlib import Path

from PIL import Image

from families.drawn.attributes import attributes, sample_z
from families.drawn.renderer import render
from pipeline.images import to_pil

FOLDER = Path("webapp/examples/drawings")
SEED, CHOSEN = 4242, (36, 300, 66, 13, 91, 330, 163, 358)  # picked by eye for variety
SIZE, EXTENT = 384, 1.2


def example(number: int) -> Image.Image:
    """The face drawn from code `number` of the seed, which no model was trained on."""
    a = {name: value[number : number + 1] for name, value in attributes(sample_z(400, SEED)).items()}
    return to_pil(render(a, SIZE, EXTENT)[0])


def main() -> None:
    """Write the pictures."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for place, number in enumerate(CHOSEN):
        example(number).save(FOLDER / f"{place}.png", optimize=True)


if __name__ == "__main__":
    main()
