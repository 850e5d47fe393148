"""`python -m jaxrec NAME ...`: the console command where it is not on the path."""

from jaxrec.cli.main import main

if __name__ == "__main__":
    main()
