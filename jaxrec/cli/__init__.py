"""The command line: one file a command, whose `main` parses arguments, calls the library and prints."""
