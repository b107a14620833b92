"""The thesis's BasicCNN: three strided convolutions and a linear head, 24,714 parameters."""

from __future__ import annotations

from torch import Tensor, nn

PARAMETERS = 24_714


class BasicCNN(nn.Module):
    """(n, 3, 32, 32) -> (n, 10).

    The matrices that orthogonalisation sees are 32 x 27, 32 x 288, 32 x 288 and 10 x 512.
    The convolutions keep their biases although batch normalisation follows them, because the
    published parameter count includes them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(*_block(3, 32), *_block(32, 32), *_block(32, 32))
        self.head = nn.Linear(32 * 4 * 4, 10)
        count = sum(p.numel() for p in self.parameters())
        assert count == PARAMETERS, f"BasicCNN must have {PARAMETERS} parameters, got {count}"

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.features(x).flatten(1))
        return out


def _block(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(inputs, outputs, kernel_size=3, stride=2, padding=1)
    return convolution, nn.BatchNorm2d(outputs), nn.ReLU()
