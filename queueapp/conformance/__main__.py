"""`python -m queueapp.conformance`: without Django, for implementers who have only this package."""

from queueapp.conformance.cli import main

if __name__ == "__main__":
    main()
