"""Write a run's report anew: `python -m launch.report runs/demo [--out FILE]`."""

from jaxrec.cli.report import main

if __name__ == "__main__":
    main()
