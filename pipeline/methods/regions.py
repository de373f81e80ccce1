"""Edits that are held to a part of the picture: a step in S where a mask is, and the generator's features between.

    Δs      = S(w') + Δs' − S(w) − Δs_0                   of an edit w', Δs' of a latent w, Δs_0
    s(x, y) = s + m(x, y) · Δs                            at each layer, with the mask m at its resolution

The layers see the edited style inside the mask and the source's style outside, and what they make of its soft border is
drawn as one picture. Masks are those of the parts that the family's reader finds in the generator's features
(`networks/parts.py`), before or after the edit, so that hair can grow; or a picture.
"""

import base64
import io
import re
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from pipeline.errors import UserError
from pipeline.latents import Latent
from pipeline.models.family import Family
from pipeline.networks.generator import resized
from pipeline.networks.parts import PARTS

REGIONS = {part: (part,) for part in PARTS} | {"face": ("skin", "mouth", "eyes")}  # name -> its parts
FEATURES = [PARTS.index("mouth"), PARTS.index("eyes")]
SIDES = (((3, 1), (1, 0)), ((1, 3), (0, 1)))  # windows of three pixels, upright and level, with their padding
MASK_SIZE = 64  # pixels a side of a mask
DRAWN = "data:image/png;base64,"  # how a picture stands in a recipe
MOST_AT_ONCE = 16
EMPTY = "This mask is empty; please paint where the picture may change."

# Where an edit may change the picture when nobody says: the words that it is known by, and the regions.
REGION_WORDS = (
    (
        "hair haired blonde blond brunette redhead redheaded ginger auburn bangs fringe curls afro mohawk bald "
        "hairstyle haircut bobcut buzz",
        ("hair",),
    ),
    ("bald bangs fringe", ("skin",)),
    (
        "smile smiling smiley grin grinning laughing laughter frown angry sad surprised shocked amazed happy "
        "expression makeup freckles",
        ("face",),
    ),
    (  # glasses reach over the hair, and who is old has grey hair
        "glasses eyeglasses sunglasses spectacles bespectacled eyewear old elderly aged young youthful wrinkles",
        ("hair", "face"),
    ),
    ("beard bearded goatee moustache mustache stubble shaved shaven", ("face",)),
    ("lipstick lips lipped mouth teeth", ("mouth",)),
    ("eye eyes eyed eyeshadow", ("eyes",)),
    ("skin skinned tan tanned pale complexion", ("skin",)),
    ("background backdrop", ("background",)),
    ("clothes shirt jacket", ("clothes",)),
)


def region_of(target: str) -> tuple[str, ...]:
    """The regions that an edit with these words is about, in their order in `REGIONS`; none, where it is not known."""
    words = set(re.findall(r"[a-z]+", target.lower()))
    found = {name for known, names in REGION_WORDS if words & set(known.split()) for name in names}
    if "hair" in found and words & {"long", "longer", "short", "shorter"}:  # it covers or shows what lies behind it
        found |= {"background", "clothes"}
    return tuple(name for name in REGIONS if name in found)


def part_probabilities(family: Family, latent: Latent) -> Tensor:
    """The probabilities of `PARTS` (1, P, R, R) in the picture of a latent. Raises UserError where the family has no
    reader of parts."""
    if family.parts is None:
        raise UserError(f"The model “{family.title}” can't find the parts of a face; please draw a mask instead.")
    generator = family.generator
    size, regions = int(family.parts.resolution), latent.regions_on(generator.device)
    tuning = latent.tuning and latent.tuning.on(generator.device)  # features without a style: it says how they look
    with torch.no_grad():
        return family.parts(generator.features_at(latent.styles(generator), size, tuning, regions)).cpu()


def region_mask(family: Family, latents: Sequence[Latent], regions: Sequence[str]) -> Tensor:
    """The mask (1, 1, R, R) of regions in the pictures of any of the latents. A region is a name of `REGIONS`, or a
    picture as `drawn_mask` writes it. Raises UserError for no region."""
    if not regions:
        raise UserError(f"Please choose at least one region of {', '.join(REGIONS)}.")
    named = sorted({PARTS.index(part) for name in regions if name in REGIONS for part in REGIONS[name]})
    masks = [read_mask(region) for region in regions if region not in REGIONS]
    if named:
        for latent in latents:
            parts = part_probabilities(family, latent)
            found = without_islands(parts[:, named].sum(1, keepdim=True), parts[:, FEATURES].sum(1, keepdim=True))
            masks.append(resized(found, MASK_SIZE).clamp(0, 1))
    return torch.stack(masks).amax(0)


def without_islands(mask: Tensor, features: Tensor) -> Tensor:
    """A mask (1, 1, R, R) in which islands of what is outside are filled, such as hair of a photograph that was taken
    for skin; but not where they hold `features` (1, 1, R, R) of the face."""
    outside = mask < 0.5
    reached = torch.zeros_like(outside)
    reached[..., 0], reached[..., -1], reached[..., 0, :], reached[..., -1, :] = True, True, True, True
    reached = (reached | (features >= 0.5)) & outside
    while True:  # from the border and the features on, to the sides, up and down
        near = torch.maximum(*(F.max_pool2d(reached.float(), size, 1, pad) for size, pad in SIDES))
        grown = (near > 0) & outside
        if torch.equal(grown, reached):
            return torch.where(outside & ~reached, 1.0, mask)
        reached = grown


def checked_regions(regions: Sequence[str | Image.Image | Tensor], rows: int = MASK_SIZE) -> list[str]:
    """Regions as a recipe has them; `rows` as for `drawn_mask`. Raises UserError for what is no region, for more
    than `MOST_AT_ONCE`, and for masks that can't be read or are empty."""
    if isinstance(regions, str | Image.Image | Tensor):
        regions = (regions,)
    if not isinstance(regions, list | tuple) or not all(isinstance(r, str | Image.Image | Tensor) for r in regions):
        raise TypeError(f"`regions` is a list of names ({', '.join(REGIONS)}), pictures (PIL) or masks (tensors).")
    if len(regions) > MOST_AT_ONCE:
        raise UserError(f"An edit is held to at most {MOST_AT_ONCE} regions; please choose fewer.")
    found = [drawn_mask(region, rows) if isinstance(region, Image.Image | Tensor) else region for region in regions]
    for region in found:
        if region.startswith(DRAWN):
            read_mask(region)
        elif region not in REGIONS:
            raise UserError(f"There is no region “{region[:40]}”; there are: {', '.join(REGIONS)}.")
    return list(dict.fromkeys(found))


def drawn_mask(mask: Image.Image | Tensor, rows: int = MASK_SIZE) -> str:
    """A mask, white where an edit may change the picture, as a text that `read_mask` reads: a picture, which covers the
    middle `rows` of the mask's `MASK_SIZE`, or a tensor (1, 1, R, R) from 0 to 1 of the generator's whole square.
    Raises UserError where nothing is white."""
    if isinstance(mask, Tensor):
        square = mask.ndim == 4 and mask.shape == (1, 1, mask.shape[-1], mask.shape[-1]) and mask.numel()
        if not square or not ((mask >= 0) & (mask <= 1)).all():
            raise UserError("A mask is a tensor (1, 1, R, R) of numbers from 0 to 1.")
        mask, rows = Image.fromarray((mask[0, 0].float().cpu() * 255).round().byte().numpy()), MASK_SIZE
    small = Image.new("L", (MASK_SIZE, MASK_SIZE))
    small.paste(mask.convert("L").resize((MASK_SIZE, rows), Image.Resampling.BOX), (0, (MASK_SIZE - rows) // 2))
    if not small.getextrema()[1]:
        raise UserError(EMPTY)
    file = io.BytesIO()
    small.save(file, "PNG")
    return DRAWN + base64.b64encode(file.getvalue()).decode()


def read_mask(text: str) -> Tensor:
    """The mask (1, 1, R, R) of a text that `drawn_mask` wrote. Raises UserError as `mask_picture` does."""
    return torch.from_numpy(np.array(mask_picture(text)))[None, None] / 255


def mask_picture(text: str, rows: int = MASK_SIZE) -> Image.Image:
    """The middle `rows` of a mask as a picture of grey, of a text that `drawn_mask` wrote. Raises UserError for any
    other text, and where nothing is white."""
    try:
        content = base64.b64decode(text.removeprefix(DRAWN), validate=True)
        with Image.open(io.BytesIO(content), formats=["PNG"]) as picture:
            if picture.size != (MASK_SIZE, MASK_SIZE) or picture.mode != "L":
                raise ValueError("another size")
            picture.load()
    except Exception:  # Pillow raises nearly anything for a broken file
        raise UserError("This mask can't be read; please paint it again.") from None
    if not picture.getextrema()[1]:
        raise UserError(EMPTY)
    top = (MASK_SIZE - rows) // 2
    return picture.crop((0, top, MASK_SIZE, top + rows))


def held_within(family: Family, latent: Latent, edited: Latent, regions: Sequence[str]) -> Latent:
    """What `edited` is of `latent`, in the regions only: in their mask in one or the other picture.

    Raises UserError where the edit is more than steps in W and S of the whole picture, as a style is.
    """
    if not (edited.same_weights(latent) and edited.same_regions(latent)):
        raise UserError("This edit can't be held to a region; please take one that changes the whole picture.")
    with torch.no_grad():
        before, after = latent.styles(family.generator), edited.styles(family.generator)
    step = [b - a for a, b in zip(before, after, strict=True)]
    return latent.moved_within(region_mask(family, (latent, edited), regions), step)
