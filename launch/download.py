"""Fetch a public data set: `python -m launch.download ml-100k`."""

from jaxrec.cli.download import main

if __name__ == "__main__":
    main()
