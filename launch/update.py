"""Take new events into a trained run: `python -m launch.update runs/demo --data new_events.csv`."""

from jaxrec.cli.update import main

if __name__ == "__main__":
    main()
