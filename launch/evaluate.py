"""Measure a trained run again: `python -m launch.evaluate runs/demo [--recommender exact] [--beams 50]`."""

from jaxrec.cli.evaluate import main

if __name__ == "__main__":
    main()
