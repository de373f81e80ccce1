"""Time of one image from a generator, beside the published arithmetic on the same weights.

    python -m benchmarks.generator [--size 1024] [--threads 2] [--repeats 5] [--resolution 256]
    python -m benchmarks.generator --mobile [--threads 2] [--repeats 5] [--resolution 256]

The reference form is that of the published PyTorch code without its compiled operators: weights modulated per sample, a
grouped (transposed) convolution, and up-sampling by inserted zeros and the full 4x4 filter. Both run in turn, so that
other load on the machine strikes both; the best of the repeats counts. Differences are to the reference in float32.

`--mobile` is the generator of the photographed faces, beside OpenVINO (requirements-benchmark.txt) with the files of
its wheel. Without that package only ours is timed.
"""

import argparse
import importlib.util
import math
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.checks import has_bfloat16
from pipeline.models.downloads import fetch
from pipeline.models.family import load_generator
from pipeline.models.openvino_ir import FOLDER
from pipeline.models.registry import family_row
from pipeline.networks.stylegan2 import Generator, StyledConv, ToRGB


def upfirdn(x: Tensor, kernel: Tensor, up: int, pad: tuple[int, int]) -> Tensor:
    """Zeros inserted (`up` - 1 after each pixel), zeros around, full 2-D filter."""
    n, c, h, w = x.shape
    x = F.pad(x.view(n * c, 1, h, 1, w, 1), (0, up - 1, 0, 0, 0, up - 1)).view(n * c, 1, h * up, w * up)
    y = F.conv2d(F.pad(x, (*pad, *pad)), kernel.flip(0, 1)[None, None].to(x.dtype))
    return y.view(n, c, *y.shape[2:])


def reference_styled_conv(layer: StyledConv, x: Tensor, style: Tensor, noise: Tensor) -> Tensor:
    """Modulate, demodulate, grouped convolution, blur, noise, bias, leaky ReLU: one step each."""
    conv, (n, c, h, w) = layer.conv, x.shape
    weight = conv.scale * conv.weight * style[:, None, :, None, None]
    weight = (weight * torch.rsqrt(weight.square().sum((2, 3, 4)) + 1e-8)[..., None, None, None]).to(x.dtype)
    x = x.reshape(1, n * c, h, w)
    if conv.upsample:
        y = F.conv_transpose2d(x, weight.transpose(1, 2).flatten(0, 1), stride=2, groups=n)
        y = upfirdn(y.view(n, -1, *y.shape[2:]), conv.blur.kernel, 1, (1, 1))
    else:
        y = F.conv2d(x, weight.flatten(0, 1), padding=1, groups=n).view(n, -1, h, w)
    y = y + layer.noise.weight.to(y.dtype) * noise.to(y.dtype)
    return F.leaky_relu(y + layer.activate.bias.to(y.dtype)[:, None, None], 0.2) * math.sqrt(2)


def reference_to_rgb(layer: ToRGB, x: Tensor, style: Tensor, skip: Tensor | None) -> Tensor:
    """Per-sample 1x1 convolution, bias, and the up-sampled image of the resolution below."""
    n, c, h, w = x.shape
    weight = (layer.conv.scale * layer.conv.weight * style[:, None, :, None, None]).to(x.dtype)
    y = F.conv2d(x.reshape(1, n * c, h, w), weight.flatten(0, 1), groups=n).view(n, 3, h, w) + layer.bias.to(x.dtype)
    return y if skip is None else y + upfirdn(skip, layer.upsample.kernel, 2, (2, 1))


def reference(generator: Generator, styles: list[Tensor], dtype: torch.dtype, resolution: int) -> Tensor:
    """What `generator.synthesize` computes, in the published form."""
    x = generator.input.input.to(dtype).expand(len(styles[0]), -1, -1, -1)
    rgb = None
    for layer, style in zip(generator.style_layers, styles, strict=True):
        if layer.resolution > resolution:
            break
        module = generator.get_submodule(layer.name)
        if layer.is_to_rgb:
            rgb = reference_to_rgb(module, x, style, rgb)
        else:
            x = reference_styled_conv(module, x, style, getattr(generator.noises, f"noise_{layer.row}"))
    return rgb.float()


def giga_operations(generator: Generator, resolution: int) -> float:
    """Counted work of one image: 2 for a multiply-add of the convolutions, on the smaller side of transposed ones."""
    total = 0
    for layer in generator.style_layers:
        conv = generator.get_submodule(layer.name).conv
        if layer.resolution <= resolution:
            total += 2 * conv.weight.numel() * (layer.resolution // (2 if conv.upsample else 1)) ** 2
    return total / 1e9


def best_times(*functions: Callable[[], Tensor], repeats: int) -> list[float]:
    """Milliseconds of each function, the best of `repeats` rounds in alternation, after one round that warms up."""
    best = [math.inf] * len(functions)
    for round_ in range(repeats + 1):
        for i, function in enumerate(functions):
            start = time.perf_counter()
            function()
            if round_:
                best[i] = min(best[i], 1e3 * (time.perf_counter() - start))
    return best


def dtypes() -> tuple[torch.dtype, ...]:
    """What is timed: bfloat16 only where the processor computes in it, as emulated it takes minutes."""
    return (torch.float32, torch.bfloat16) if has_bfloat16(torch.device("cpu")) else (torch.float32,)


def openvino_network(wheel: Path, dtype: torch.dtype, threads: int) -> Callable[[Tensor], Tensor]:
    """The wheel's synthesis network as OpenVINO runs it: w (1, D) -> image (1, 3, R, R)."""
    import openvino

    core = openvino.Core()
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(wheel) as archive:
        files = [archive.extract(f"{FOLDER}/SynthesisNetwork{end}", folder) for end in (".xml", ".bin")]
        hints = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
        hints["INFERENCE_PRECISION_HINT"] = {torch.float32: "f32", torch.bfloat16: "bf16"}[dtype]
        request = core.compile_model(core.read_model(files[0]), "CPU", hints).create_infer_request()
    return lambda w: torch.from_numpy(next(iter(request.infer({0: w.numpy()}).values())))


def time_mobile(threads: int, repeats: int, resolution: int | None) -> None:
    """Print the times of MobileStyleGAN, ours and OpenVINO's."""
    row = family_row("photo")
    generator, _ = load_generator(row, torch.device("cpu"), torch.float32)
    wheel, there = fetch(row.files["generator"]), importlib.util.find_spec("openvino") is not None
    print(f"MobileStyleGAN, image of {resolution or generator.size} px, {threads} threads")
    print("dtype      OpenVINO ms    ours ms   ours / OpenVINO   largest difference of two images to ours in float32")
    with torch.inference_mode():
        w = generator.mapping(torch.randn(1, generator.style_dim, generator=torch.Generator().manual_seed(0)))
        exact = generator(w)
        for dtype in dtypes():
            generator.compute_dtype = dtype
            runs = [lambda: generator(w, resolution)]
            if there:
                network = openvino_network(wheel, dtype, threads)
                runs.append(lambda network=network: network(w))
            ours, *theirs = best_times(*runs, repeats=repeats)
            differences = [(image - exact).abs().max().item() for image in (generator(w), *(run() for run in runs[1:]))]
            print(
                f"{str(dtype)[6:]:<10}{theirs[0] if theirs else math.nan:12.0f}{ours:11.0f}"
                f"{ours / theirs[0] if theirs else math.nan:18.2f}   {', '.join(f'{d:.1e}' for d in differences)}"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mobile", action="store_true", help="the generator of the photographed faces")
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--resolution", type=int, help="stop at this resolution")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.mobile:
        return time_mobile(args.threads, args.repeats, args.resolution)
    torch.manual_seed(0)
    generator = Generator(args.size).eval().requires_grad_(False)
    resolution = args.resolution or args.size
    work = giga_operations(generator, resolution)
    styles = generator.styles(generator.mapping(torch.randn(1, generator.style_dim)))
    print(f"{args.size} px generator, image of {resolution} px, {work:.1f} GFLOP, {args.threads} threads")
    print("dtype     reference ms  GFLOP/s    ours ms  GFLOP/s   ratio   difference / maximum: reference, ours")
    with torch.inference_mode():
        exact = reference(generator, styles, torch.float32, resolution)
        for dtype in dtypes():
            generator.compute_dtype = dtype
            slow, fast = best_times(
                lambda dtype=dtype: reference(generator, styles, dtype, resolution),
                lambda: generator.synthesize(styles, resolution),
                repeats=args.repeats,
            )
            images = reference(generator, styles, dtype, resolution), generator.synthesize(styles, resolution)
            difference = [((image - exact).abs().max() / exact.abs().max()).item() for image in images]
            print(
                f"{str(dtype)[6:]:<10}{slow:12.0f}{1e3 * work / slow:9.0f}{fast:11.0f}{1e3 * work / fast:9.0f}"
                f"{slow / fast:8.1f}   {difference[0]:.1e}, {difference[1]:.1e}"
            )


if __name__ == "__main__":
    main()
