"""Speed of the rasteriser: a face of 9,375 vertices to triangles, normals and a lit picture.

    python benchmarks/rasterise.py
    python benchmarks/rasterise.py --model ict_facekit_face.npz --size 128 --rounds 50

Without `--model` the mesh is a dome of as many vertices, on the same grid and about as large in the
picture. Everything is timed in turn, A B A B, in one process, on one thread.

A fragment is a pair of a triangle and a pixel of the box around it: what has to be looked at at
least once. The floor is that least: writing a fragment's depth into the picture where it is nearer,
for as many fragments and nothing else. "of floor" is the floor's share of the time.
"""

from __future__ import annotations

import argparse
import statistics
from functools import partial
from pathlib import Path

import torch
from facecycle_step import Step, spread, take_turns
from torch import Tensor

from facefactor.geometry import rasteriser
from facefactor.geometry.lighting import directional_lighting
from facefactor.geometry.morphable import read_morphable
from facefactor.geometry.projection import project
from facefactor.geometry.rasteriser import normal_map, rasterise, render
from facefactor.geometry.rotations import rotation_matrix
from facefactor.geometry.uv_grid import COLUMNS, ROWS, grid_triangles, grid_uv, resample

AIM = "aim: 20 ms to rasterise at 128 px"


def dome() -> tuple[Tensor, Tensor]:
    """Half an ellipsoid of a head's proportions: vertices (9375, 3) and triangles (T, 3)."""
    u, v = grid_uv(torch.tensor([[-1.0, -1.0], [1.0, 1.0]])).unbind(dim=1)
    azimuth, elevation = u * torch.pi / 2, v * torch.pi / 2.2
    vertices = [
        9 * azimuth.sin() * elevation.cos(),
        14 * elevation.sin(),
        12 * azimuth.cos() * elevation.cos(),
    ]
    return torch.stack(vertices, dim=1), grid_triangles()


def to_picture(vertices: Tensor, size: int, count: int) -> Tensor:
    """`count` times the mesh, turned by some degrees, as high as 7/8 of the picture."""
    middle = (vertices.amax(dim=0) + vertices.amin(dim=0)) / 2
    height = float(vertices[:, 1].amax() - vertices[:, 1].amin())
    rotation = rotation_matrix(torch.tensor([20.0, -10.0, 5.0]).expand(count, 3))
    scale = torch.full((count,), 0.875 * size / height)
    centre = torch.full((count, 2), (size - 1) / 2)
    return project((vertices - middle).expand(count, -1, -1), rotation, scale, centre)


def fragments(points: Tensor, triangles: Tensor, size: int) -> Tensor:
    """The pixel of each fragment, as the rasteriser counts them, one picture after the other."""
    corners = triangles.T
    steps = rasteriser._STEPS
    x, y = ((points[..., axis].double() * steps).round()[:, corners] for axis in (0, 1))
    box = rasteriser._boxes(x, y, size, size)
    count = (box[1] - box[0] + 1).clamp(min=0) * (box[3] - box[2] + 1).clamp(min=0)
    count = (count * (rasteriser._twice_area(x, y) > 0)).flatten()
    _, column, row = rasteriser._fragments(torch.arange(len(count)), count, box.flatten(1))
    picture = torch.arange(len(points)).repeat_interleave(count.view(len(points), -1).sum(dim=1))
    return (picture * size + row) * size + column


def floor(pixel: Tensor, pixels: int) -> Step:
    """The nearest depth at each of `pixels`, of fragments whose pixel and depth are known."""
    depth = torch.arange(len(pixel)).flip(0)
    return lambda: torch.zeros(pixels, dtype=torch.int64).scatter_reduce_(0, pixel, depth, "amax")


def report(vertices: Tensor, triangles: Tensor, size: int, count: int, rounds: int) -> None:
    points = to_picture(vertices, size, count)
    raster = rasterise(points, triangles, (size, size))
    albedo = torch.full_like(vertices, 0.8)
    light = directional_lighting(torch.full((count,), -40.0), torch.full((count,), 20.0), 0.2)
    pixel = fragments(points, triangles, size)
    steps: dict[str, Step] = {
        "rasterise": partial(rasterise, points, triangles, (size, size)),
        "normal map of it": partial(normal_map, raster, points, triangles),
        "lit picture of it": partial(render, raster, points, triangles, albedo, light),
        "floor": floor(pixel, count * size * size),
    }
    print(
        f"\n{count} at {size} px: {len(pixel)} fragments, {int(raster.mask.sum())} pixels covered\n"
        f"{'':20} {'ms: median (range)':32} {'ns/fragment':>11} {'of floor':>9}"
    )
    seconds = take_turns(steps, rounds)
    least = statistics.median(seconds["floor"])
    for name, taken in seconds.items():
        middle = statistics.median(taken)
        row = f"{name:20} {spread([1e3 * s for s in taken]):32}"
        if name in ("rasterise", "floor"):
            row += f" {1e9 * middle / len(pixel):11.0f} {least / middle:9.0%}"
        print(row, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--model", type=Path, metavar="FILE", help="a morphable model's .npz; a dome without it")
    add("--size", type=int, action="append", help="repeatable; 64, 128 and 256 px")
    add("--batch", type=int, default=16, help="meshes at once, beside one alone; 16")
    add("--rounds", type=int, default=20, help="timed turns of each; 20")
    args = parser.parse_args()
    if args.rounds < 1 or args.batch < 1 or min(args.size or [1]) < 1:
        parser.error("--size, --batch and --rounds are at least 1")
    torch.set_num_threads(1)
    if args.model:
        model = resample(read_morphable(args.model))
        vertices, triangles = model.neutral, model.triangles
    else:
        vertices, triangles = dome()
    print(f"torch {torch.__version__}, 1 CPU thread; {AIM}")
    print(f"{ROWS} x {COLUMNS} = {len(vertices)} vertices, {len(triangles)} triangles")
    with torch.inference_mode():
        for size in args.size or [64, 128, 256]:
            report(vertices, triangles, size, 1, args.rounds)
        report(vertices, triangles, 64, args.batch, args.rounds)


if __name__ == "__main__":
    main()
