"""Ids of users and items from vectors, and the vocabulary that names them to a language model."""
