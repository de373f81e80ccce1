"""A network in training with its optimizers and the average of its weights, kept in a file and found again there."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from families.muon import Muon
from pipeline.files import written_whole


class Averaged:
    """A `model`, Muon for its 3x3 kernels, AdamW for the rest, and `mean`, the average of the weights over the last
    steps, which is what is measured and kept.

    `others`: modules by name that are trained or kept with it. `steps` and `seconds` count over all runs.
    """

    def __init__(
        self, model: nn.Module, rates: tuple[float, float], average: float, decay: float = 0.0,
        others: Mapping[str, nn.Module] | None = None,
    ) -> None:  # fmt: skip
        """`rates`: peaks of the learning rates of Muon and AdamW; `average`: share of the mean that a step keeps;
        `decay`: weight decay of AdamW."""
        self.model, self.parts = model, {"model": model, **(others or {})}
        parameters = [p for part in self.parts.values() for p in part.parameters()]
        kernels = [p for p in parameters if p.ndim == 4 and p.shape[2] == 3]
        rest = [p for p in parameters if not (p.ndim == 4 and p.shape[2] == 3)]
        self.optimizers = {
            "muon": Muon(kernels, rates[0]),
            "adam": torch.optim.AdamW(rest, rates[1], weight_decay=decay),
        }
        self.rates = rates
        kept = torch.optim.swa_utils.get_ema_multi_avg_fn(average)
        self.mean = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=kept, use_buffers=True)
        self.steps, self.seconds = 0, 0.0

    def update(self, loss: Tensor, rate: float) -> float:
        """One step down; `rate`: share of the peaks. Returns the loss."""
        for optimizer, peak in zip(self.optimizers.values(), self.rates, strict=True):
            optimizer.param_groups[0]["lr"] = peak * rate
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        for optimizer in self.optimizers.values():
            optimizer.step()
        self.mean.update_parameters(self.model)
        self.steps += 1
        return loss.item()

    def _all(self) -> dict[str, nn.Module | torch.optim.Optimizer]:
        return self.parts | {"mean": self.mean} | self.optimizers

    def save(self, path: Path) -> None:
        """Keep everything that a later run needs."""
        state = {name: part.state_dict() for name, part in self._all().items()}
        with written_whole(path) as fresh:
            torch.save(state | {"steps": self.steps, "seconds": self.seconds}, fresh)

    def load(self, path: Path) -> None:
        """Go on from a file that `save` wrote."""
        state = torch.load(path, weights_only=True)
        for name, part in self._all().items():
            part.load_state_dict(state[name])
        self.steps, self.seconds = state["steps"], state["seconds"]
