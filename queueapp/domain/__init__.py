"""The rules of the queue: standard library only, no clock, no input or output."""
