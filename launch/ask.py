"""Ask a trained run for stars and words: `python -m launch.ask runs/instruments_cpu rating --user NAME --items a,b`."""

from jaxrec.cli.ask import main

if __name__ == "__main__":
    main()
