"""Recommend with a trained run: `python -m launch.recommend runs/demo --user NAME -k 10`."""

from jaxrec.cli.recommend import main

if __name__ == "__main__":
    main()
