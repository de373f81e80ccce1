# ruff: noqa: E501
"""Teach a family's CLIP styles by name, as pencil sketch or bronze statue, and nothing else anew.

    python -m families.styles --model NAME [--faces N] [--minutes N]

The joint space of `families.clip` has axes left: each style gets one of them. Pictures are sampled faces, some of them
edited, and the same after a style's filter (`style_filters`). What the shipped model says of the plain picture or text
is what the new one is to say, plus the style; so attributes stay where they were, and with them the directions,
mappers and alignments that were made with it. Goes on where it stopped; writes `clip.safetensors` of the cache.
"""

import argparse
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from families.captions import Captions, wrap
from families.clip import (
    BATCH,
    NEUTRAL,
    STATED,
    TEXTS,
    Fit,
    augment,
    encode_short,
    joint_axes,
    new_clip,
    train,
    used_tokens,
)
from families.drawn.captions import CAPTIONS as DRAWN
from families.drawn.clip import NUMBERS_OF
from families.drawn.clip import WIDTH as DRAWN_WIDTH
from families.drawn.reader import to_bytes
from families.photo.captions import CAPTIONS as PHOTO
from families.photo.clip import WIDTH as PHOTO_WIDTH
from families.photo.clip import disturbed
from families.style_filters import COLOURLESS, FILTERS
from pipeline import StyleCLIP
from pipeline.files import written_whole
from pipeline.images import to_tensor
from pipeline.losses import clip_features, clip_pool
from pipeline.networks.clip import CLIP, WORD_ROWS, build_clip, tokenize, with_all_words
from pipeline.training.command import run

CACHE = Path(".cache/styles")
SIZE, VARIANTS = 256, 5  # px that filters see; styles that each face is shown in
FACES, MINUTES = 2_400, 80
WIDER = 4  # channels that the image tower's first stage gets for styles; later stages get 2, 4, … times as many
EMPHASIS = 3.0  # of errors along the styles' axes, which are short beside the others
ATTACKED = 5  # every so many batches one is moved against the model; it learned first with all of them moved
CALIBRATED, LONGEST = 300, 4.0  # faces by which `stretch` goes, and how far at most
HELD_OUT = 8  # every so many faces one is held out
STYLE = 1.5  # of a styled picture's embedding along its style's axis; the neutral axis has NEUTRAL
FADED = 0.3  # share of the colours' axes that a colourless style leaves
COLOURS = ("hair_colour", "skin", "lips", "eye_colour", "eyeshadow", "makeup")
PLAIN = 0.25  # share of what is shown that are plain pictures
PATCHES = 0.35  # share of what is shown that are patches, as CLIPstyler shows them
EDITED = 0.5  # share of the faces that are edited before they are drawn

# Style -> what people call it: media ("a … of a face") and adjectives ("a … face").
WORDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "pencil sketch": (("pencil sketch", "pencil drawing", "sketch", "pencil portrait", "graphite drawing"), ("sketched", "pencil-drawn")),
    "charcoal": (("charcoal drawing", "charcoal sketch", "charcoal portrait", "charcoal"), ("charcoal-drawn",)),
    "oil painting": (("oil painting", "oil portrait", "oil on canvas", "painting"), ("painted", "oil-painted")),
    "watercolour": (("watercolour", "watercolor", "watercolour painting", "watercolor painting", "aquarelle"), ("watercolour", "watercolor")),
    "cartoon": (("cartoon", "cartoon drawing", "animated cartoon", "cartoon portrait"), ("cartoon", "animated")),
    "comic": (("comic", "comic book drawing", "comic strip", "pop art", "comic book page"), ("comic",)),
    "pixel art": (("pixel art", "pixel art portrait", "8-bit picture", "pixel drawing"), ("pixelated", "8-bit")),
    "mosaic": (("mosaic", "tile mosaic", "roman mosaic", "mosaic portrait"), ("mosaic", "tiled")),
    "engraving": (("engraving", "etching", "woodcut", "copperplate engraving", "engraved portrait"), ("engraved", "etched")),
    "sepia": (("sepia photo", "sepia photograph", "old sepia photo", "sepia portrait", "vintage sepia photo"), ("sepia",)),
    "black and white": (
        ("black and white photo", "black-and-white photo", "black and white photograph", "monochrome photo", "grayscale photo"),
        ("monochrome", "black and white"),
    ),
    "neon": (("neon", "neon art", "neon sign", "neon light drawing"), ("neon", "neon-lit")),
    "marble statue": (("marble statue", "marble sculpture", "marble bust", "stone statue", "stone sculpture"), ("marble",)),
    "bronze statue": (("bronze statue", "bronze sculpture", "bronze bust", "metal statue"), ("bronze",)),
}  # fmt: skip
STYLES = tuple(FILTERS)
CAPTIONS = {"demo": DRAWN, "photo": PHOTO}
NUMBERS = {"demo": NUMBERS_OF, "photo": ()}
WIDTHS = {"demo": DRAWN_WIDTH, "photo": PHOTO_WIDTH}  # of the image tower before it learned styles
DISTURB = {"demo": augment, "photo": disturbed}


STYLE_MEDIA = ("painting", "drawing", "sketch", "sculpt", "statue", "cartoon", "art", "black and white", "pixelated",
    "painted", "drawn")  # fmt: skip


class StyledCaptions:
    """Captions of a family without and with the name of a style."""

    def __init__(self, captions: Captions) -> None:
        self.captions, self.values = captions, captions.values

    def pair(self, random_: random.Random) -> tuple[str, str, int]:
        """A text without a style, and the same with one and its index; or one text twice and -1."""
        phrase, _ = self.captions.phrase(random_)
        if random_.random() < 0.5:
            while any(word in (text := wrap(phrase, random_)).replace(phrase, "") for word in STYLE_MEDIA):
                pass
            return text, text, -1
        style = random_.randrange(len(STYLES))
        media, adjectives = WORDS[STYLES[style]]
        m, article = random_.choice(media), random_.choice(("a", "the"))
        if random_.random() < 0.15:
            return "a face", random_.choice((m, f"{article} {m}", f"{m} style", f"in the style of a {m}")), style
        ways = [f"a {m} of a {phrase}", f"a {m} of {article} {phrase}", f"{m} of a {phrase}", f"{phrase}, {m}"]
        ways += [f"a {phrase} in the style of a {m}", f"{article} {phrase} as a {m}", f"{m} style {phrase}"]
        ways += [f"a {random_.choice(adjectives)} {phrase}"]
        return f"a {phrase}", random_.choice(ways), style

    def caption(self, random_: random.Random) -> tuple[str, int]:
        """A text and its style, or -1."""
        return self.pair(random_)[1:]


def plain_and_styled(name: str, count: int, folder: Path) -> dict[str, Tensor]:
    """Faces 0 ... `count` - 1 of a family, uint8: `plain` (N, 2, 3, R, R), each a whole picture and a patch of it,
    `styled` (N, VARIANTS, 2, 3, R, R), the same in styles, and `which` (N, VARIANTS) they are. Kept in `folder`, in
    parts of 100 faces, and found again there."""
    folder.mkdir(parents=True, exist_ok=True)
    studio, parts = StyleCLIP.from_pretrained(name, device="cpu"), []
    resolution = studio.family.clip.visual.input_resolution
    prompts = [text for texts in CAPTIONS[name].prompts.values() for text in texts]
    for start in range(0, count, 100):
        kept = folder / f"{start:05}.pt"
        if not kept.is_file():
            faces = [_face(studio, seed, prompts, resolution) for seed in range(start, start + 100)]
            with written_whole(kept) as fresh:
                torch.save({key: torch.stack([face[key] for face in faces]) for key in faces[0]}, fresh)
            print(f"{start + 100} of {count} faces", flush=True)
        parts.append(torch.load(kept, weights_only=True))
    return {key: torch.cat([part[key] for part in parts])[:count] for key in parts[0]}


def _face(studio: StyleCLIP, seed: int, prompts: list[str], resolution: int) -> dict[str, Tensor]:
    rng, random_ = np.random.default_rng(seed), random.Random(seed)
    latent = studio.sample(seed, truncation=rng.uniform(0.6, 1))
    if random_.random() < EDITED:
        latent = studio.direct(latent, random_.choice(prompts), "face", strength=random_.uniform(1, 3)).latent
    picture = to_tensor(studio.image(latent, SIZE), (SIZE, SIZE))
    pixels = (picture[0].permute(1, 2, 0).numpy() / 2 + 0.5).astype(np.float32)
    which = rng.choice(len(STYLES), VARIANTS, replace=False)
    styled = np.stack([FILTERS[STYLES[k]](pixels, rng) for k in which]).astype(np.float32)
    shown = torch.cat([picture, torch.from_numpy(styled).permute(0, 3, 1, 2) * 2 - 1])
    side = int(rng.integers(SIZE // 4, SIZE // 2 + 1))
    top, left = rng.integers(0, SIZE - side + 1, 2)
    patches = F.interpolate(
        shown[..., top : top + side, left : left + side], (resolution, resolution), mode="bicubic", align_corners=False
    )
    # The plain picture and a patch of it, then the same in the styles.
    views = torch.stack([to_bytes(clip_pool(shown, resolution)), to_bytes(patches.clamp(-1, 1))], 1)
    return {"plain": views[0], "styled": views[1:], "which": torch.from_numpy(which)}


def _seen(model: CLIP, pictures: Tensor) -> Tensor:
    """Unit embeddings (N, EMBED) of pictures uint8 (N, 3, R, R)."""
    with torch.inference_mode():
        parts = [clip_features(model, part.float() / 127.5 - 1, normalize=False) for part in pictures.split(100)]
    return torch.cat(parts).clone()


class PartlyFrozenNorm(nn.BatchNorm2d):
    """Batch norm that goes on as it was for its first `kept` channels, and learns for the others."""

    kept: int

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same, normalised."""
        parts = []
        for part, learns in ((slice(self.kept), False), (slice(self.kept, None), self.training)):
            mean, var, weight, bias = (v[part] for v in (self.running_mean, self.running_var, self.weight, self.bias))
            parts.append(F.batch_norm(x[:, part], mean, var, weight, bias, learns, self.momentum, self.eps))
        return torch.cat(parts, 1)


def without_styles(state: Mapping[str, Tensor], resolution: int, width: int) -> dict[str, Tensor]:
    """A model as it was before `widen`, of this `width`: its first channels, which read no other ones."""
    narrow = new_clip(1, resolution, width).state_dict()
    return {
        key: value[tuple(slice(n) for n in narrow[key].shape)].clone() if key.startswith("visual.") else value
        for key, value in state.items()
    }


def widen(model: CLIP, state: Mapping[str, Tensor]) -> None:
    """Put a narrower model's weights into a new, wider one, where training does not move them: its channels come first
    and read no new one, and what the new ones say is nothing at first."""
    own = model.state_dict()
    for key, value in state.items():
        if key.startswith("visual.") and value.ndim >= 2 and "positional" not in key:
            own[key][: len(value)] = 0
        own[key][tuple(slice(n) for n in value.shape)] = value
    parameters = dict(model.visual.named_parameters())
    for name, parameter in parameters.items():
        shipped = torch.zeros_like(parameter, dtype=torch.bool)
        shape = state[f"visual.{name}"].shape
        by_input = name.endswith(("positional_embedding", "c_proj.weight"))  # their last axis alone has become longer
        shipped[..., : shape[-1]] = by_input
        shipped[: shape[0]] |= not by_input
        parameter.register_hook(lambda gradient, shipped=shipped: gradient.masked_fill(shipped, 0))
    for name, module in model.visual.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            module.__class__, module.kept = PartlyFrozenNorm, len(state[f"visual.{name}.weight"])


class StyleFit(Fit):
    """`Fit` of a shipped model, which learns from what it says by itself, and from styled faces (`plain_and_styled`).

    The image tower gets channels of their own for styles, which read the shipped ones; those stay as they are and read
    no new one, so that a plain picture is embedded as before but for what the new channels add.
    """

    def __init__(self, name: str, faces: Mapping[str, Tensor]) -> None:
        shipped, captions = with_all_words(load_file(f"checkpoints/{name}/clip.safetensors")), CAPTIONS[name]
        shipped = without_styles(shipped, faces["plain"].shape[-1], WIDTHS[name])
        self.teacher, self.captions, self.faces = build_clip(shipped), StyledCaptions(captions), faces
        # Its axes in the joint space, and those that are left.
        axes = joint_axes()
        names = ("neutral", *(category for category, _ in captions.values), *NUMBERS[name], "gap")
        self.neutral, self.styles = axes[0], axes[len(names) : len(names) + len(STYLES)]
        self.colours = axes[[i for i, category in enumerate(names) if category in COLOURS]]
        self.seen = torch.stack([_seen(self.teacher, faces["plain"][:, view]) for view in range(2)], 1)
        self.train = (torch.arange(len(self.seen)) % HELD_OUT != HELD_OUT - 1).nonzero()[:, 0]
        # The model to train: the shipped one, for its words and those of styles.
        words = shipped[WORD_ROWS].float()
        used = torch.cat([words.abs().sum(1).nonzero()[:, 0], used_tokens(self.captions)]).unique()
        prompts = [text for texts in captions.prompts.values() for text in texts]
        lures = torch.cat([self._said(prompts), self.with_style(self._said(["a face"]), torch.arange(len(STYLES)))])
        width = self.teacher.visual.layer1[0].conv1.in_channels
        model = new_clip(len(used), faces["plain"].shape[-1], width + WIDER)
        rows = torch.where(words[used].abs().sum(1, keepdim=True) > 0, words[used], model.token_embedding.weight[1:])
        state = {key: value.float() for key, value in shipped.items()}
        state[WORD_ROWS] = torch.cat([torch.zeros(1, words.shape[1]), rows.detach()])
        super().__init__(model, used, lures, DISTURB[name])
        widen(model, state)

    @torch.no_grad()
    def _said(self, texts: Sequence[str]) -> Tensor:
        """What the shipped model says of texts: unit embeddings (N, EMBED)."""
        return F.normalize(encode_short(self.teacher, tokenize(list(texts))))

    def with_style(self, said: Tensor, which: Tensor) -> Tensor:
        """Unit embeddings of texts with those of STYLES (N,) beside what they say, (N, EMBED); -1: with none."""
        raw = said / (said @ self.neutral)[:, None]
        return F.normalize(raw + STATED * torch.where(which[:, None] < 0, 0, self.styles[which]))

    def shown_in_style(self, seen: Tensor, which: Tensor) -> Tensor:
        """The same of plain pictures' embeddings (N, EMBED), without their colours where the style has none."""
        raw = NEUTRAL * seen / (seen @ self.neutral)[:, None]
        faded = torch.tensor([style in COLOURLESS for style in STYLES])[which]
        raw = raw - (1 - FADED) * faded[:, None] * (raw @ self.colours.T @ self.colours)
        return F.normalize(raw + STYLE * self.styles[which])

    def some_faces(self, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Plain and styled pictures in turn, so that a blend is of any two."""
        index = self.train[torch.randint(len(self.train), (BATCH,), generator=rng)]
        variant = torch.randint(VARIANTS, (BATCH,), generator=rng)
        view = (torch.rand(BATCH, generator=rng) < PATCHES).long()
        styled, which = self.faces["styled"][index, variant, view], self.faces["which"][index, variant]
        plain, seen = torch.rand(BATCH, generator=rng) < PLAIN, self.seen[index, view]
        pixels = torch.where(plain[:, None, None, None], self.faces["plain"][index, view], styled)
        targets = torch.where(plain[:, None], seen, self.shown_in_style(seen, which))
        return pixels.float() / 127.5 - 1, targets

    def image_loss(self, rng: torch.Generator, strength: float) -> Tensor:
        """With few batches moved against the model."""
        return super().image_loss(rng, 0.0 if self.steps % ATTACKED else strength)

    def emphasised(self, error: Tensor) -> Tensor:
        """Errors along the styles' axes count more."""
        return error + (EMPHASIS - 1) * error @ self.styles.T @ self.styles

    @torch.no_grad()
    def stretch(self) -> None:
        """Make what the new channels say of each style as long as it was meant to be, on the whole pictures that were
        learned from: where a style is hard to see, training ends between it and a photo."""
        some = self.train[:CALIBRATED]
        self.model.eval()
        seen, which = _seen(self.model, self.faces["styled"][some, :, 0].flatten(0, 1)), self.faces["which"][some]
        meant = self.shown_in_style(self.seen[some, 0].repeat_interleave(VARIANTS, 0), which.flatten())
        length = [
            [(e[which.flatten() == k] @ self.styles[k]).mean() for e in (meant, seen)] for k in range(len(STYLES))
        ]
        factors = torch.tensor([(goal / found).clamp(1, LONGEST).item() for goal, found in length])
        weight, kept = self.model.visual.attnpool.c_proj.weight, self.teacher.visual.attnpool.c_proj.weight.shape[1]
        weight[:, kept:] += self.styles.T @ ((factors - 1)[:, None] * (self.styles @ weight[:, kept:]))

    def some_texts(self, random_: random.Random) -> tuple[Sequence[str], Tensor]:
        """Texts, half of them with a style."""
        plain, texts, which = zip(*(self.captions.pair(random_) for _ in range(TEXTS)), strict=True)
        return texts, self.with_style(self._said(plain), torch.tensor(which))


@torch.inference_mode()
def accuracies(model: CLIP, faces: Mapping[str, Tensor], view: int = 0) -> dict[str, float]:
    """Share of faces, plain and in each style, that the texts “a … of a face” tell right: style -> balanced share."""
    texts = [f"a {WORDS[style][0][0]} of a face" for style in STYLES] + ["a photo of a face"]
    said = F.normalize(model.encode_text(tokenize(texts)))
    pictures = torch.cat([faces["plain"][:, view], faces["styled"][:, :, view].flatten(0, 1)])
    truth = torch.cat([torch.full((len(faces["plain"]),), len(STYLES)), faces["which"].flatten()])
    found = (_seen(model, pictures) @ said.T).argmax(1)
    return {style: (found[truth == k] == k).float().mean().item() for k, style in enumerate((*STYLES, "photo"))}


def learn(name: str, count: int, minutes: float) -> None:
    """Train until `minutes` in all are spent; write the model and print its accuracies."""
    torch.set_num_threads(1)
    folder = CACHE / name
    faces = plain_and_styled(name, count, folder)
    held = torch.arange(count) % HELD_OUT == HELD_OUT - 1
    fit = StyleFit(name, faces)
    train(fit, folder / "wider.pt", minutes)
    fit.stretch()
    fit.export(folder / "clip.safetensors")
    model, rest = build_clip(load_file(folder / "clip.safetensors")), {key: value[held] for key, value in faces.items()}
    shares = accuracies(model, rest)
    print("\n".join(f"| {style} | {share:.3f} |" for style, share in shares.items()))
    print(f"| mean | {np.mean([*shares.values()]):.3f} |")
    print(f"mean of patches: {np.mean([*accuracies(model, rest, 1).values()]):.3f}")
    plain = rest["plain"][:, 0]
    kept = (_seen(model, plain) * _seen(fit.teacher, plain)).sum(1)
    print(f"cosine of plain pictures' embeddings before and after: {kept.mean():.4f}, at least {kept.min():.4f}")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=CAPTIONS, default="photo")
    parser.add_argument("--faces", type=int, default=FACES, help="to sample (%(default)s)")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="in all, of one core (%(default)s)")
    options = parser.parse_args()
    run(lambda: learn(options.model, options.faces, options.minutes))


if __name__ == "__main__":
    main()
