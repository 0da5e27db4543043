"""`python -m sacroplasty` is the `sacroplasty` command."""

from sacroplasty.cli import main

if __name__ == "__main__":
    main()
