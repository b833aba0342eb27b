"""Pictures in numbers: what a method does to the gradient, and what networks say. Pure functions on tensors."""
