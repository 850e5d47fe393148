"""Train and measure baselines: `python -m launch.baselines configs/NAME.py --systems sasrec ease --seeds 0 1 2`."""

from jaxrec.cli.baselines import main

if __name__ == "__main__":
    main()
