"""The paper's own studies on the demo models, each a picture or a table.

    python -m benchmarks.studies [grid] [parts] [identity] [table1] [table2] [--folder docs/results]

grid: α × β for grey hair (figure 6). parts: the mapper's networks left out one by one, and one network for all rows
(appendix, ablation). identity: a mapper trained without the identity loss, and with twice λ_L2 instead (appendix).
table1: what each method costs. table2: cosine between a mapper's steps on different faces. Faces are sampled from seeds
that no training used.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from benchmarks.judging import FIRST_SEED, LabelledFace, Score, faces
from benchmarks.targets import Target
from families.drawn.reader import Reader
from pipeline import StyleCLIP
from pipeline.methods.mapper import apply_mapper
from pipeline.training.frozen import FrozenModels
from pipeline.training.mapper_recipe import MapperRecipe
from pipeline.training.mapper_training import train

STEPS = 120  # of the mappers that are compared, about half of what a finished one gets
TILE, LABEL, FONT = 160, 22, ImageFont.load_default(13)


def labelled(
    rows: Sequence[Sequence[Image.Image]], left: Sequence[str], top: Sequence[str], margin: int = 150
) -> Image.Image:
    """Pictures in a grid, with words before the rows and above the columns."""
    out = Image.new("RGB", (margin + TILE * len(top), LABEL + TILE * len(rows)), "white")
    draw = ImageDraw.Draw(out)
    for x, words in enumerate(top):
        draw.text((margin + TILE * (x + 0.5), LABEL / 2), words, "black", FONT, "mm")
    for y, (row, words) in enumerate(zip(rows, left, strict=True)):
        draw.multiline_text((margin - 8, LABEL + TILE * (y + 0.5)), words, "black", FONT, "rm", align="right")
        for x, picture in enumerate(row):
            tile = picture.resize((TILE, TILE), Image.Resampling.LANCZOS)
            out.paste(tile, (margin + TILE * x, LABEL + TILE * y))
    return out


def grid(studio: StyleCLIP, folder: Path) -> str:
    """Figure 6: strengths from left to right, fewer and fewer channels from the bottom up."""
    grey = Target("face", "face with grey hair", "hair_colour", "grey")
    (face,), target, neutral = lacking(studio, Reader.from_file(), grey, 1), grey.target, grey.neutral
    strengths, counts = (-9.0, -6.0, -3.0, 0.0, 3.0, 6.0, 9.0), (10, 40, 160, 640)
    betas = [studio.threshold(target, neutral, count) for count in counts]
    rows = [
        [studio.direct(face.latent, target, neutral, strength, threshold=beta).image for strength in strengths]
        for beta in betas
    ]
    words = [f"threshold {beta:.3f}\n{count} channels" for beta, count in zip(betas, counts, strict=True)]
    labelled(rows, words, [f"strength {strength:+g}" for strength in strengths]).save(folder / "grid.jpg", quality=90)
    return f"Strength α from left to right, threshold β from top to bottom: {folder / 'grid.jpg'}"


def lacking(studio: StyleCLIP, reader: Reader, pair: Target, count: int) -> list[LabelledFace]:
    """Held-out faces that have not what the pair asks for."""
    return list(islice((face for face in faces(studio, reader) if pair.lacking(face.found)), count))


def ablation(
    studio: StyleCLIP, folder: Path, name: str, pair: Target, variants: dict[str, MapperRecipe], count: int = 20
) -> str:
    """Train a mapper for each variant; a sheet of four faces, and a table over `count` held-out faces."""
    reader, models = Reader.from_file(), FrozenModels.of(studio.family)
    pool = lacking(studio, reader, pair, count)
    shown = [[face.image for face in pool[:6]]]
    lines = [
        f"| {pair.prompt} | target appeared · identity cosine · others changed | loss |",
        "|---|---|---|",
    ]
    for words, recipe in variants.items():
        *_, last = train(models, studio.texts, recipe)
        score, pictures = Score(studio, reader, pair), []
        for face in pool:
            edited = apply_mapper(
                last.mapper, studio.family.generator, face.latent, studio.family.defaults.mapper_strength
            )
            pictures.append(studio.image(edited))
            score.add(face, pictures[-1])
        shown.append(pictures[:6])
        lines.append(f"| {words} | {score} | {last.losses['total']:.3f} |")
        print(lines[-1], flush=True)
    labelled(shown, ["source", *variants], [""] * 6).save(folder / f"{name}.jpg", quality=90)
    return "\n".join(lines)


OLD = Target("face", "old face", "age", "old")
CURLY = Target("face", "face with curly hair", "hair_texture", "curly")


def parts(studio: StyleCLIP, folder: Path) -> str:
    """Appendix: one network for all rows, and three with one left out, for a text that should leave colours alone."""
    recipe = MapperRecipe(CURLY.prompt, clip=studio.family.defaults.mapper_clip, steps=STEPS)
    variants = {
        "all three": recipe,
        "no fine": replace(recipe, levels=("course", "medium")),
        "no medium": replace(recipe, levels=("course", "fine")),
        "no coarse": replace(recipe, levels=("medium", "fine")),
        "one network": replace(recipe, variant="single"),
        "StyleSpace": replace(recipe, variant="stylespace"),
    }
    return ablation(studio, folder, "parts", CURLY, variants)


def identity(studio: StyleCLIP, folder: Path) -> str:
    """Appendix: without the identity loss, and with twice λ_L2 in its place."""
    recipe = MapperRecipe(OLD.prompt, clip=studio.family.defaults.mapper_clip, steps=STEPS)
    variants = {
        "with identity": recipe,
        "without identity": replace(recipe, identity=0.0),
        "without, twice L2": replace(recipe, identity=0.0, l2=1.6),
    }
    return ablation(studio, folder, "identity", OLD, variants)


def table1(studio: StyleCLIP, folder: Path) -> str:
    """Table 1: preparation, training and edit of each method, timed here."""
    latent, models = studio.sample(FIRST_SEED), FrozenModels.of(studio.family)
    defaults = studio.family.defaults

    def timed(call: Callable[[], object], times: int = 1) -> float:
        call()
        begin = time.perf_counter()
        for _ in range(times):
            call()
        return (time.perf_counter() - begin) / times

    step = timed(lambda: list(studio.optimize(latent, "a smiling face", steps=10))) / 10
    recipe = MapperRecipe("a smiling face")
    training = timed(lambda: list(islice(train(models, studio.texts, recipe), 10))) / 10
    mapped = timed(lambda: studio.map(latent, "smiling").image, 10)
    directed = timed(lambda: studio.direct(latent, "smiling face", "face").image, 10)
    return "\n".join(
        (
            "| | preparation, once a model | training, once a text | an edit | depends on the face | space |",
            "|---|---|---|---|---|---|",
            f"| optimizer | – | – | {step * defaults.steps:.1f} s ({defaults.steps} steps) | yes | {defaults.space} |",
            f"| mapper | – | {training * recipe.steps:.0f} s | {1000 * mapped:.0f} ms | yes | W+ |",
            f"| global direction | see `benchmarks.relevance` | – | {1000 * directed:.0f} ms | no | S |",
        )
    )


def cosines(steps: Tensor) -> tuple[float, float]:
    """Mean and deviation of the cosine between different rows of steps (N, ...)."""
    unit = torch.nn.functional.normalize(steps.flatten(1), dim=1)
    apart = (unit @ unit.T)[~torch.eye(len(unit), dtype=torch.bool)]
    return apart.mean().item(), apart.std().item()


@torch.no_grad()
def table2(studio: StyleCLIP, folder: Path, count: int = 100) -> str:
    """Table 2: how much alike a mapper's steps are on `count` different faces."""
    codes = torch.cat([studio.sample(FIRST_SEED + i, 1.0).w_plus for i in range(count)])
    found = {title: cosines(studio.family.mappers.load(name)(codes)) for name, title in studio.mappers().items()}
    return "\n".join(
        (
            "| | " + " | ".join(found) + " |",
            "|---|" + "---|" * len(found),
            "| mean | " + " | ".join(f"{mean:.2f}" for mean, _ in found.values()) + " |",
            "| deviation | " + " | ".join(f"{deviation:.2f}" for _, deviation in found.values()) + " |",
        )
    )


STUDIES: dict[str, Callable[[StyleCLIP, Path], str]] = {
    study.__name__: study for study in (grid, parts, identity, table1, table2)
}


def main() -> None:
    """Run the studies asked for, or all, and print their tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="*", choices=[[], *STUDIES], metavar="STUDY", help=", ".join(STUDIES))
    parser.add_argument("--folder", type=Path, default=Path("docs/results"))
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    studio = StyleCLIP.from_pretrained("demo")
    for name in options.studies or STUDIES:
        print(f"\n## {name}\n\n{STUDIES[name](studio, options.folder)}", flush=True)


if __name__ == "__main__":
    main()
