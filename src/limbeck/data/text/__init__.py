"""Aligned sentences in two languages: read, cut into tokens, put into batches."""
