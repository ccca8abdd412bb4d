"""Evaluation of systems: rows, tables, figures, exported weights."""
