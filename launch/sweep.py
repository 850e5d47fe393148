"""Choose settings on validation: `python -m launch.sweep configs/demo.py --grid train.learning_rate=1e-3,1e-2`."""

from jaxrec.cli.sweep import main

if __name__ == "__main__":
    main()
