"""Measure the demo models on held-out faces and write their model card, `checkpoints/demo/README.md`.

python -m families.drawn.card
"""

from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from families.drawn import clip, encoder, identity, landmarks, parts, reader
from families.drawn.attributes import CATEGORIES, attributes, labels, sample_z
from families.drawn.dataset import Dataset
from families.drawn.generator import held_out_psnr
from pipeline.losses import clip_features
from pipeline.networks.csla import CSLA
from pipeline.networks.parts import PartReader
from pipeline.networks.stylegan2 import Generator

FOLDER = Path("checkpoints/demo")
SAMPLES = 500

TEXT = """# The built-in demo models

Small models that draw, read and edit cartoon-like faces, so that StyleCLIP Studio works at once, offline and on a CPU,
and so that its tests and benchmarks run on something real. They have the architecture and the file layout of the
published models, at smaller widths, and go through the same code.

**How they were made.** By this repository alone: `make demo-models` draws 21,000 shaded faces with known attributes
(`families/drawn/renderer.py`) and fits every model to them on a CPU. No photograph and no other weights went
in.

**What they can't do.** They know drawn faces in one pose, and the words of `families/sayings.py`; other
words mean little to them. A photograph becomes a drawn face that resembles it, not a portrait.

**Mind when quoting figures.** Edits are better disentangled here than in models trained on photographs, by
construction: the codes W are a rotation of the attributes that the faces were drawn from, and CLIP's two towers were
not trained contrastively but fitted to one space in which each attribute has a block of its own
(`families/drawn/clip.py`). No figure below says anything about real faces. The held-out drawings of CLIP's
table also chose its plain texts, and the reader saw the same kind of drawings as CLIP did, through another network.
The identity network was told which traits make a person, so its figures say little about real faces either.

**Licence.** MIT, as the code.

## Measured on held-out drawings

"""


def table(title: str, rows: Iterable[tuple[str, str]]) -> str:
    """A Markdown table under a heading."""
    lines = "\n".join(f"| {name} | {value} |" for name, value in rows)
    return f"### {title}\n\n| | |\n|---|---|\n{lines}\n\n"


def figures(found: dict[str, float]) -> list[tuple[str, str]]:
    """Rows of a table of named numbers."""
    return [(name, f"{value:.3f}" if abs(value) < 2 else f"{value:.2f}") for name, value in found.items()]


@torch.inference_mode()
def generator_rows(generator: Generator, judge: reader.Reader, data: Dataset) -> list[tuple[str, str]]:
    """PSNR against the renderer from true and mapped codes, and how often what was asked for is read back."""
    rows = [("PSNR against the renderer, from w* (dB)", held_out_psnr(generator, data, generator.size, data.w))]
    rows.append(("PSNR, from z (dB)", held_out_psnr(generator, data, generator.size, generator.mapping(data.z))))
    z = sample_z(SAMPLES, seed=2024)
    truth = labels(attributes(z))
    found = [reader.read(judge, generator(generator.mapping(part))) for part in z.split(20)]
    shares = {}
    for category in CATEGORIES:
        asked = truth[category] >= 0
        shares[category] = (torch.cat([f[category] for f in found]) == truth[category])[asked].float().mean().item()
    rows.append((f"attributes read back, mean of {len(shares)} categories", sum(shares.values()) / len(shares)))
    rows += [(f"read back: {category}", share) for category, share in shares.items()]
    return figures(dict(rows))


def parts_rows(generator: Generator) -> list[tuple[str, str]]:
    """How far the parts that are found are those that the renderer painted."""
    found = PartReader.from_state_dict(load_file(FOLDER / "parts.safetensors"))
    return figures(parts.measure(found, generator))


def clip_rows(data: Dataset) -> list[tuple[str, str]]:
    """Zero-shot accuracy by plain texts, balanced over each category's values."""
    index = torch.arange(data.train, len(data.z))
    images = torch.cat([data.batch(part, 128) for part in index.split(100)])
    truth = {name: value[data.train :] for name, value in data.labels.items()}
    shares = clip.zero_shot_here(images, truth)
    means = {category: sum(values.values()) / len(values) for category, values in shares.items()}
    rows = [("mean of the categories", f"{sum(means.values()) / len(means):.3f}")]
    for category, values in shares.items():
        each = ", ".join(f"{value} {share:.2f}" for value, share in values.items())
        rows.append((category, f"{means[category]:.3f} ({each})"))
    return rows


@torch.inference_mode()
def alignment_rows(
    generator: Generator, mean: Tensor, images: Tensor, truth: dict[str, Tensor], judge: reader.Reader
) -> list[tuple[str, str]]:
    """Attributes kept when drawings (N, 3, R, R) are inverted through CLIP; `mean` is the mean latent (D,)."""
    network = CSLA.from_state_dict(load_file(FOLDER / "alignment.safetensors"))
    model, kept = clip.load(), {}
    w = torch.cat([mean + network.to_w(clip_features(model, part, False)) for part in images.split(100)])
    found = [reader.read(judge, generator(part)) for part in w.split(20)]
    for category in CATEGORIES:
        known = truth[category] >= 0
        same = torch.cat([f[category] for f in found]) == truth[category]
        kept[f"kept, {category}"] = same[known].float().mean().item()
    return figures({"inverted through CLIP: attributes kept": sum(kept.values()) / len(kept)} | kept)


def main() -> None:
    """Measure everything, print the tables and write the card."""
    torch.set_num_threads(1)
    data, judge = Dataset(), reader.Reader.from_file()
    state = load_file(FOLDER / "generator.safetensors")
    mean = state.pop("latent_avg").float().reshape(-1, state["conv1.conv.modulation.weight"].shape[1])[0]
    generator = Generator.from_state_dict(state)
    truth = {name: value[data.train :] for name, value in data.labels.items()}
    images = torch.cat([data.batch(part, 128) for part in torch.arange(data.train, len(data.z)).split(100)])
    sections = {
        "Generator (StyleGAN2)": generator_rows(generator, judge, data),
        "Reader of parts: intersection over union with the renderer's": parts_rows(generator),
        "CLIP: zero-shot accuracy": clip_rows(data),
        "Encoder (e4e)": figures(encoder.measure(data)),
        "Alignment (CSLA)": alignment_rows(generator, mean, images, truth, judge),
        "Identity network (IR-SE)": figures(identity.measure()),
        "Landmarks (dlib)": figures(landmarks.measure(data)),
        "Attribute reader (judges edits; no method uses it): accuracy": figures(reader.accuracy(judge, images, truth)),
    }
    sizes = [
        (file.name, f"{file.stat().st_size / 1e6:.2f} MB")
        for file in sorted(FOLDER.rglob("*.*"))
        if file.suffix != ".md"
    ]
    sections["Files"] = sizes
    card = TEXT + "".join(table(title, rows) for title, rows in sections.items())
    print(card)
    (FOLDER / "README.md").write_text(card.rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
