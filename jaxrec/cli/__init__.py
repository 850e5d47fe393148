"""The command line: one module per command; its `main` parses arguments, calls the library and prints."""
