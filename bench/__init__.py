"""What things cost: every bench checks its answer against the float64 reference before it times."""
