"""``python -m orthodrome``, as ``torchrun -m orthodrome`` starts it."""

from orthodrome.cli.main import main

if __name__ == "__main__":
    main()
