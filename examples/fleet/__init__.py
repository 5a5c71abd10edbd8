"""The parts of the demonstration (`examples/demo.py`): processes, what is seen of them, what is checked."""
