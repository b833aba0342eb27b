"""Studies: grids of runs with seeds, statistics, and claims that get a verdict."""
