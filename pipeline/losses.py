"""The terms of the objectives (StyleCLIP, equations 1 and 2), and how CLIP and the identity network are shown pictures.
The mappers' objectives (equations 4 and 5) stand in training/mapper_training.py."""

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)  # of CLIP's own preprocessing, for images in [0, 1]
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
MIN_TEXT_DISTANCE = 0.1  # of embeddings: nearer texts say nearly the same, or words that CLIP never learned
ID_SIZE = 256  # images are pooled to this, then cropped to the face, as the identity network was used by its authors
ID_ROWS, ID_COLUMNS = slice(35, 223), slice(32, 220)


@lru_cache(maxsize=16)
def bicubic_matrix(size: int, resolution: int, device: torch.device) -> Tensor:
    """(resolution, size): each row makes one of `resolution` pixels from `size`, as Pillow's bicubic filter does."""
    with torch.inference_mode(False):
        each = torch.eye(size, dtype=torch.float64)[None, None]
        return F.interpolate(each, (resolution, size), mode="bicubic", antialias=True)[0, 0].float().to(device)


@lru_cache(maxsize=16)
def area_matrix(size: int, resolution: int, device: torch.device) -> Tensor:
    """(resolution, size): each row averages the stretch of `size` pixels that one of `resolution` pixels covers.

    Equals nearest up-sampling by resolution/32 followed by average pooling by size/32, without the huge image in
    between.
    """
    edges = torch.arange(resolution + 1, dtype=torch.float64) * size / resolution
    pixels = torch.arange(size, dtype=torch.float64)
    overlap = torch.minimum(edges[1:, None], pixels + 1) - torch.maximum(edges[:-1, None], pixels)
    with torch.inference_mode(False):
        return (overlap.clamp(min=0) * resolution / size).float().to(device)


def clip_pool(images: Tensor, resolution: int) -> Tensor:
    """Square images (N, 3, R, R) -> (N, 3, resolution, resolution), as the reference's losses show them to CLIP."""
    matrix = area_matrix(images.shape[-1], resolution, images.device)
    return matrix @ images.float() @ matrix.T


def clip_preprocess(images: Tensor, resolution: int) -> Tensor:
    """Square images (N, 3, R, R) in [-1, 1] -> (N, 3, resolution, resolution), by CLIP's own preprocessing."""
    matrix = bicubic_matrix(images.shape[-1], resolution, images.device)
    x = (matrix @ images.float() @ matrix.T).clamp(-1, 1)
    mean, std = (x.new_tensor(v)[:, None, None] for v in (CLIP_MEAN, CLIP_STD))
    return ((x + 1) / 2 - mean) / std


def clip_features(model: nn.Module, images: Tensor, normalize: bool) -> Tensor:
    """Unit image embeddings (N, E) of images (N, 3, R, R) in [-1, 1].

    `normalize`: with CLIP's own preprocessing, its mean and deviation, as the reference measures relevance; the
    reference's losses show CLIP [-1, 1] as it is.
    """
    shown = (clip_preprocess if normalize else clip_pool)(images, model.visual.input_resolution)
    return F.normalize(model.encode_image(shown).float())


def clip_distance(image_features: Tensor, text_features: Tensor) -> Tensor:
    """1 - cosine of unit embeddings (N, E) and (M, E) -> (N, M) (equations 1 and 4)."""
    return 1 - image_features @ text_features.T


def directional_target(image_features: Tensor, difference: Tensor) -> Tensor:
    """Unit embeddings (N, E) of pictures, moved by the `difference` (1, E) of two texts' unit embeddings.

    A target that keeps what is in the picture already. StyleGAN-NADA's directional loss (Gal et al. 2022) has the same
    aim, but a zero gradient at initialisation, where nothing has changed yet. The difference counts as much as the
    picture, and less where CLIP hardly tells the texts apart, so that noise is not followed.
    """
    return F.normalize(image_features + F.normalize(difference, eps=MIN_TEXT_DISTANCE))


def directional_cosine(before: Tensor, after: Tensor, delta_t: Tensor) -> Tensor:
    """Δi · Δt / (‖Δi‖ ‖Δt‖) of unit embeddings (N, E) of pictures before and after, and a unit Δt (1, E): (N,)
    (StyleGAN-NADA, section 4.1; CLIPstyler, equation 2)."""
    delta_i = after - before
    return (delta_i @ delta_t.T)[:, 0] / delta_i.norm(dim=1).clamp(min=1e-6)


def identity_crop(images: Tensor, size: int) -> Tensor:
    """Aligned faces (N, 3, R, R) -> the face proper, (N, 3, size, size)."""
    if images.shape[-1] != ID_SIZE:
        images = F.adaptive_avg_pool2d(images, ID_SIZE)
    return F.adaptive_avg_pool2d(images[..., ID_ROWS, ID_COLUMNS], size)


def identity_features(network: nn.Module, images: Tensor) -> Tensor:
    """Unit identity embeddings (N, E) of aligned faces (N, 3, R, R) in [-1, 1]."""
    return network(identity_crop(images.float(), network.size))


def identity_distance(features: Tensor, source_features: Tensor) -> Tensor:
    """1 - cosine of two batches of unit embeddings (N, E) -> (N,) (equation 2)."""
    return 1 - (features * source_features).sum(1)


def l2_distance(codes: Tensor, source: Tensor) -> Tensor:
    """Sum of squared differences: the paper writes a norm, its code and its weights go with this."""
    return (codes - source).square().sum()
