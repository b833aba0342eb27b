"""A tournament of the methods that apply to given data and networks, and what it recommends."""
