"""Scripted sessions that show whether a server or a worker keeps the worker protocol."""
