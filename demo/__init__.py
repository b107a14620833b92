"""The main job on real data: handwritten digits, SGDM against Orthogonal-SGDM.

Run it with ``python -m demo``; ``python -m demo --help`` explains the choices.
"""
