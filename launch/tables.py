"""Fill a table of a paper: `python -m launch.tables meta_id 1 2`, `python -m launch.tables token_rec 6`."""

from jaxrec.cli.tables import main

if __name__ == "__main__":
    main()
