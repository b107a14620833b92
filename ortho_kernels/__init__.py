"""ortho_kernels: the polar factors of a whole model's gradients in one call.

`import ortho_kernels as ok` registers the ops as `torch.ops.ortho_kernels.*`. It needs neither a
compiler nor a GPU: where the native module is absent, plain torch serves; `build_info()` tells.
"""

from ortho_kernels import coefficients
from ortho_kernels.build_info import __version__, build_info
from ortho_kernels.matrices import Heads, heads
from ortho_kernels.ops.all_finite import all_finite
from ortho_kernels.ops.frobenius_norm import frobenius_norm
from ortho_kernels.ops.orthogonal_step_ import orthogonal_step_
from ortho_kernels.ops.polar import polar
from ortho_kernels.ops.polar_foreach import polar_foreach
from ortho_kernels.ops.sketch import sketch
from ortho_kernels.ops.window_step_ import window_step_
from ortho_kernels.threads import get_num_threads, set_num_threads

__all__ = [
    "Heads",
    "__version__",
    "all_finite",
    "build_info",
    "coefficients",
    "frobenius_norm",
    "get_num_threads",
    "heads",
    "orthogonal_step_",
    "polar",
    "polar_foreach",
    "set_num_threads",
    "sketch",
    "window_step_",
]
