"""`python -m zoo.cli`, the same as `lrcn`."""

from zoo.cli import main

if __name__ == "__main__":
    main()
