"""`python -m tunesmith.cli`, as torchrun starts it."""

from tunesmith.cli.main import main

__all__: list[str] = []

if __name__ == "__main__":
    main()
