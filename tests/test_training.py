"""Training of what global directions read: channel relevance, on a tiny random generator."""

import pytest
import torch
import torch.nn.functional as F

from pipeline.networks.stylegan2 import Generator
from pipeline.training.relevance import measure_relevance, style_statistics


@pytest.fixture(scope="module")
def generator() -> Generator:
    torch.manual_seed(0)
    return Generator(16, 8, 2, {4: 6, 8: 5, 16: 4}).eval().requires_grad_(False)


def test_statistics_are_those_of_sampled_styles(generator):
    mean, std = style_statistics(generator, samples=6_000)
    with torch.no_grad():
        z = torch.randn(6_000, 8, generator=torch.Generator().manual_seed(0))
        # the same stream of numbers is drawn in two parts
        styles = torch.cat(generator.styles(generator.mapping(z)), 1)
    assert torch.allclose(mean, styles.mean(0), atol=1e-3)
    assert torch.allclose(std, styles.std(0, correction=0), rtol=1e-2)


@pytest.mark.parametrize("to_rgb", [False, True])
def test_relevance_equals_a_plain_loop(generator, to_rgb):
    projection = torch.randn(3 * 16 * 16, 7, generator=torch.Generator().manual_seed(2))

    def embed(images):
        return images.flatten(1) @ projection

    _, std = style_statistics(generator, samples=500)
    seen = []
    found = measure_relevance(generator, embed, std, codes=2, seed=3, batch=4, to_rgb=to_rgb, progress=seen.append)

    rng, changes = torch.Generator().manual_seed(3), []
    with torch.no_grad():
        for _ in range(2):
            styles = generator.styles(generator.mapping(torch.randn(1, 8, generator=rng)))
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


def test_lower_resolution_only_approximates(generator):
    _, std = style_statistics(generator, samples=500)

    def embed(images):
        return F.adaptive_avg_pool2d(images, 4).flatten(1)

    exact, quick = (measure_relevance(generator, embed, std, codes=2, lowest=size) for size in (16, 8))
    assert torch.allclose(exact[-4:], quick[-4:], atol=1e-4)  # the layers at 16 px are drawn in full in both
    assert (exact * quick).sum(1).mean() > 0.5
