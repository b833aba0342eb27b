"""Searches of hyper-parameters on the validation split, with an equal budget for every recipe."""
