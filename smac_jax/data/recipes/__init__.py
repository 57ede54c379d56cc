"""Recipes that build datasets, by name: `python -m launch.make_dataset --recipe=NAME`."""
