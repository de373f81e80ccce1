"""Fit the demo generator's mapping network z -> w* by regression.

    python -m families.drawn.mapping [--minutes N]

Kept in `.cache/demo/mapping.pt`, and taken into the generator's file by `families.drawn.generator`.
"""

import argparse
import time

import torch
import torch.nn.functional as F
from torch import nn

from families.drawn.attributes import W_DIM, attributes, sample_z, w_from_attributes
from families.drawn.dataset import CACHE
from families.muon import Muon
from pipeline.networks.stylegan2 import Generator

LAYERS = 8
BATCH = 512
STORED = 100  # lr_mul 0.01: weights and biases are stored a hundred times larger than they act
MUON_RATE, ADAM_RATE = 0.02 * STORED, 0.005 * STORED


def new_mapping() -> nn.Sequential:
    """An untrained mapping network: orthogonal layers let the staircases of the palettes through at once."""
    torch.manual_seed(0)
    network = Generator(4, W_DIM, LAYERS, {4: 1}).style
    for p in network.parameters():
        if p.ndim == 2:
            nn.init.orthogonal_(p, gain=0.9 * STORED * W_DIM**0.5)
    return network


def r_squared(network: nn.Module) -> float:
    """Share of the variance of w* that the network explains on 8,192 fresh codes."""
    z = sample_z(8192, 5)
    true = w_from_attributes(attributes(z))
    with torch.inference_mode():
        return 1 - (F.mse_loss(network(z), true) / true.var()).item()


def main() -> None:
    """Fit for `--minutes` of computing time, counted over all runs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=15)
    total = parser.parse_args().minutes * 60
    torch.set_num_threads(1)
    network, kept = new_mapping(), CACHE / "mapping.pt"
    average = torch.optim.swa_utils.AveragedModel(
        network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.998)
    )
    muon = Muon([p for p in network.parameters() if p.ndim == 2], MUON_RATE)
    adam = torch.optim.Adam([p for p in network.parameters() if p.ndim == 1], ADAM_RATE)
    parts = {"network": network, "average": average.module, "muon": muon, "adam": adam}
    steps, seconds = 0, 0.0
    if kept.exists():
        state = torch.load(kept, weights_only=True)
        for name, part in parts.items():
            part.load_state_dict(state[name])
        steps, seconds = state["steps"], state["seconds"]
    while seconds < total:
        start = time.process_time()
        for optimizer, rate in ((muon, MUON_RATE), (adam, ADAM_RATE)):
            optimizer.param_groups[0]["lr"] = rate * (1 - seconds / total)
        z = sample_z(BATCH, 10_000 + steps)
        F.mse_loss(network(z), w_from_attributes(attributes(z))).backward()
        for optimizer in (muon, adam):
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        average.update_parameters(network)
        steps, seconds = steps + 1, seconds + time.process_time() - start
        if steps % 1000 == 0 or seconds >= total:
            print(f"{steps} steps  {seconds / 60:.1f} min  R² {r_squared(average.module):.4f}", flush=True)
            torch.save({n: p.state_dict() for n, p in parts.items()} | {"steps": steps, "seconds": seconds}, kept)


if __name__ == "__main__":
    main()
