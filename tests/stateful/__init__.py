"""The real lifecycle, sessions, dispatchers and passes of several processes, driven against a plain model."""
