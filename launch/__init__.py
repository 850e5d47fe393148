"""Thin scripts: parse a config, call a method, print."""
