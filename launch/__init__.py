"""Thin scripts, one for each command of `jaxrec.cli`."""
