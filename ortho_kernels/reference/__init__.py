"""The truth for tests and benches: float64 NumPy, obvious rather than fast, without torch."""
