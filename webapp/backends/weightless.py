"""A model family without its weights: its networks are on PyTorch's meta device, where tensors have a shape and no
values. Whatever is asked about the model, its sizes and its words among it, can be answered with it, and what would
compute fails."""

from __future__ import annotations

import copy
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.methods.directions import MeasuredDirections
from pipeline.methods.exchange import Looks
from pipeline.models.family import Family


def known_of(family: Family) -> dict[str, Any]:
    """The fields of a family without its weights, for `Family(**...)`. They can be pickled. What finds faces, which is
    no network, is only said to be there."""
    known = {field.name: _without_values(getattr(family, field.name)) for field in fields(family) if field.init}
    return known | {
        "latent_avg": family.latent_avg.cpu(),
        "device": torch.device("cpu"),
        "faces": family.faces and True,
    }


def _without_values(part: Any) -> Any:
    if isinstance(part, nn.Module):
        tensors = [*part.parameters(), *part.buffers()]
        return copy.deepcopy(part, {id(tensor): _shape(tensor) for tensor in tensors})
    if isinstance(part, MeasuredDirections):
        bare = copy.copy(part)
        bare.relevance, bare.agreement = _shape(part.relevance), _shape(part.agreement)
        return bare
    return Looks(*map(_shape, part)) if isinstance(part, Looks) else part


def _shape(tensor: Tensor) -> Tensor:
    bare = torch.empty_like(tensor, device="meta")
    return nn.Parameter(bare, requires_grad=False) if isinstance(tensor, nn.Parameter) else bare
