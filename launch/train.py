"""Train and measure a run: `python -m launch.train configs/demo.py [--train.steps 200 ...]`."""

from jaxrec.cli.train import main

if __name__ == "__main__":
    main()
