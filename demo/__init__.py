"""The main job on real data: handwritten digits, SGDM against Orthogonal-SGDM.

Run it with ``python -m demo``; ``python -m demo --help`` explains the choices.
"""

import os

# Threads that wait shall sleep. Spinning, which is OpenMP's default, they keep the processor from
# the very thread that they wait for as soon as others use the machine too: with five neighbours on
# two cores a step took 2.2 s, and takes 0.4 s so. To be said before torch loads OpenMP.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
