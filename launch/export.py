"""Export a trained run for Hugging Face: `python -m launch.export runs/demo exported/demo [--push NAME]`."""

from jaxrec.cli.export import main

if __name__ == "__main__":
    main()
