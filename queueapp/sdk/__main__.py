"""`python -m queueapp.sdk MODULE[:NAME] … --url … [--token …]`."""

from queueapp.sdk.cli import main

if __name__ == "__main__":
    main()
