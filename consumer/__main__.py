"""`python -m consumer`: the same as the command `consumer`."""

from consumer.cli import main

if __name__ == "__main__":
    main()
