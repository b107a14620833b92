"""Experiments that train: each answers a question that the thesis left open, on data at hand."""
