"""Servers and workers on one event loop of our own, where a seed decides what happens next and who dies when."""
