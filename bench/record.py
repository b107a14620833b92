"""Records real gradients: those of every convolution and linear layer, at the steps asked for.

    python -m bench.record resnet20 --steps 0,60 --out bench-output/resnet20.npz
    python -m bench.record transformer --steps 0,30,120

Step 0 is before the first update. Float32, from networks that train on data which packages ship
(bench/networks.py), one seed. `python -m bench compare --gradients FILE:STEP` reads the file, and
`--gradients resnet20:60` records it where it is not there yet.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from bench.networks import NETWORKS, Training

OUTPUT = Path("bench-output")
NOTES = "notes"  # the one entry that is no gradient

Gradients = dict[str, Tensor]


def record(name: str, steps: Iterable[int], seed: int = 0) -> dict[int, Gradients]:
    """The gradients of the network `name` by step, each by the name of its weight."""
    if name not in NETWORKS:
        raise ValueError(f"record: network must be one of {', '.join(NETWORKS)}, got {name!r}")
    torch.manual_seed(seed)
    training, wanted = NETWORKS[name](), set(steps)
    found = {}
    for step in tqdm(range(max(wanted) + 1), f"training {name}", leave=False, disable=None):
        _backward(training)
        if step in wanted:
            found[step] = _gradients(training.model)
        training.optimizer.step()
    return found


def _backward(training: Training) -> None:
    x, y = next(training.batches)
    training.optimizer.zero_grad()
    torch.autograd.backward(training.loss(training.model(x), y))


def _gradients(model: nn.Module) -> Gradients:
    return {
        f"{name}.weight": module.weight.grad.detach().clone()
        for name, module in model.named_modules()
        if isinstance(module, (nn.Conv2d, nn.Linear)) and module.weight.grad is not None
    }


def save(path: Path, network: str, recorded: dict[int, Gradients]) -> None:
    arrays: dict[str, NDArray[Any]] = {
        f"{step}/{name}": gradient.numpy()
        for step, gradients in recorded.items()
        for name, gradient in gradients.items()
    }
    notes = {"network": network, "steps": sorted(recorded), "torch": torch.__version__}
    arrays[NOTES] = np.array(json.dumps(notes))
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, allow_pickle=False, **arrays)


def load(source: str) -> Gradients:
    """`FILE:STEP`, `FILE` where it holds one step, or `NETWORK:STEP`, recorded on the spot."""
    file, _, step = source.rpartition(":") if ":" in source else (source, "", "")
    if not file or (step and not step.isdecimal()):
        raise ValueError(f"record: gradients must be FILE:STEP or NETWORK:STEP, got {source!r}")
    path = Path(file)
    if file in NETWORKS:
        path = OUTPUT / f"{file}-{step or 0}.npz"
        if not path.exists():
            save(path, file, record(file, [int(step or 0)]))
    with np.load(path) as arrays:
        steps = json.loads(str(arrays[NOTES]))["steps"]
        if not step and len(steps) == 1:
            step = str(steps[0])
        if not step or int(step) not in steps:
            raise ValueError(f"record: {path} holds steps {steps}, got {step or 'none'}")
        start = f"{int(step)}/"
        return {
            key.removeprefix(start): torch.from_numpy(arrays[key])
            for key in arrays.files
            if key.startswith(start)
        }


def main() -> None:
    text = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        "python -m bench.record",
        description=text[0],
        epilog=text[2],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("network", choices=NETWORKS)
    parser.add_argument("--steps", default="0,60", help="with commas between (default: 0,60)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="default: bench-output/NETWORK.npz")
    arguments = parser.parse_args()
    try:
        steps = [int(step) for step in arguments.steps.split(",")]
    except ValueError:
        parser.error(f"--steps must be numbers with commas between, got {arguments.steps!r}")
    recorded = record(arguments.network, steps, arguments.seed)
    path = arguments.out or OUTPUT / f"{arguments.network}.npz"
    save(path, arguments.network, recorded)
    for step, gradients in recorded.items():
        numbers = sum(gradient.numel() for gradient in gradients.values())
        print(f"step {step}: {len(gradients)} gradients, {numbers:,} numbers")
    print(f"{path} written")


if __name__ == "__main__":
    main()
