"""Training of what global directions read: channel relevance, on a tiny random generator."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pipeline.networks.stylegan2 import Generator
from pipeline.training.relevance import measure_relevance, style_statistics


@pytest.fixture(scope="module")
def generator() -> Generator:
    torch.manual_seed(0)
    return Generator(16, 8, 2, {4: 6, 8: 5, 16: 4}).eval().requires_grad_(False)


def test_statistics_are_those_of_codes_truncated_as_in_the_reference(generator):
    """GetCode.py: w = w_avg + 0.7 (w - w_avg), then mean and deviation of what the affine layers make of it."""
    average = torch.randn(generator.num_rows, 8, generator=torch.Generator().manual_seed(1))
    mean, std = style_statistics(generator, samples=6_000, average=average)
    assert torch.allclose(style_statistics(generator, samples=6_000)[1], std, rtol=1e-5)
    state = {name: value.double().numpy() for name, value in generator.state_dict().items()}
    x = torch.randn(6_000, 8, generator=torch.Generator().manual_seed(0)).double().numpy()
    x /= np.sqrt((x**2).mean(1, keepdims=True))
    for i in (1, 2):
        x = x @ state[f"style.{i}.weight"].T * 0.01 / 8**0.5 + state[f"style.{i}.bias"] * 0.01
        x = np.where(x < 0, 0.2 * x, x) * 2**0.5
    styles = []
    for layer in generator.style_layers:
        w = average[layer.row].double().numpy() + 0.7 * (x - average[layer.row].double().numpy())
        affine = f"{layer.name}.conv.modulation"
        styles.append(w @ state[f"{affine}.weight"].T / 8**0.5 + state[f"{affine}.bias"])
    styles = np.concatenate(styles, 1)
    np.testing.assert_allclose(mean, styles.mean(0), atol=1e-4)
    np.testing.assert_allclose(std, styles.std(0), rtol=1e-4)


@pytest.mark.parametrize("to_rgb", [False, True])
def test_relevance_equals_a_plain_loop(generator, to_rgb):
    projection = torch.randn(3 * 16 * 16, 7, generator=torch.Generator().manual_seed(2))

    def embed(images):
        return images.flatten(1) @ projection

    average = torch.randn(generator.num_rows, 8, generator=torch.Generator().manual_seed(1))
    _, std = style_statistics(generator, samples=500, average=average)
    seen = []
    options = {"to_rgb": to_rgb, "average": average, "progress": seen.append}
    found = measure_relevance(generator, embed, std, codes=2, seed=3, batch=4, **options)

    rng, changes = torch.Generator().manual_seed(3), []
    with torch.no_grad():
        for _ in range(2):
            w = generator.mapping(torch.randn(1, 8, generator=rng))
            styles = generator.styles(average + 0.7 * (w[:, None] - average))
            rows, offset = [], 0
            for i, layer in enumerate(generator.style_layers):
                for channel in range(layer.channels):
                    if layer.is_to_rgb and not to_rgb:
                        continue
                    ends = []
                    for sign in (-1, 1):
                        moved = [s.clone() for s in styles]
                        moved[i][0, channel] += sign * 5 * std[offset + channel]
                        ends.append(F.normalize(embed(generator.synthesize(moved).clamp(-1, 1))))
                    rows.append(F.normalize(ends[1] - ends[0]))
                offset += layer.channels
            changes.append(torch.cat(rows))
    expected = F.normalize(torch.stack(changes).mean(0))
    assert found.shape == ((6 + 6 + 5 + 5 + 4) + to_rgb * (6 + 5 + 4), 7)
    assert torch.allclose(found, expected, atol=1e-3)
    assert seen[-1] == pytest.approx(1)
