"""Serve trained runs over HTTP: `python -m launch.serve runs/demo_study/meta_id-0`."""

from jaxrec.cli.serve import main

if __name__ == "__main__":
    main()
