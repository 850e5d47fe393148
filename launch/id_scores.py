"""Diversity and memorization of trained runs' ids: `python -m launch.id_scores runs/ONE [runs/OTHER ...]`."""

from jaxrec.cli.id_scores import main

if __name__ == "__main__":
    main()
