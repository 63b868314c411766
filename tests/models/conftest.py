"""Keeps pytest from collecting what only runs in a process of its own."""

collect_ignore = ["transformers_suite.py"]
