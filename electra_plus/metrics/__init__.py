"""Scores. They read numbers and know nothing of models."""
