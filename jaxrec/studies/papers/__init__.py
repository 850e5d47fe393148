"""The papers' tables beside our own figures."""
