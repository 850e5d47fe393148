"""Look at data and ids before trusting them: `python -m launch.audit --data.path FILE [--ids USERS ITEMS]`."""

from jaxrec.cli.audit import main

if __name__ == "__main__":
    main()
