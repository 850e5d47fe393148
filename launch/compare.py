"""Train and measure several runs as one table: `python -m launch.compare demo_study [--seeds 0 1 2]`."""

from jaxrec.cli.compare import main

if __name__ == "__main__":
    main()
