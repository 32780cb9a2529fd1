"""`python -m facefactor.cli` is `facefactor`."""

from facefactor.cli import main

if __name__ == "__main__":
    main()
