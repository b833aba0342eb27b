"""The engine: the loop, devices and processes, checkpoints, the record of a run."""
