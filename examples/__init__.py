"""Workers, data and a demonstration to start from."""
