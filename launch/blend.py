"""Blend runs and baselines: `python -m launch.blend runs/mine --with transitions item-knn --out runs/blend`."""

from jaxrec.cli.blend import main

if __name__ == "__main__":
    main()
