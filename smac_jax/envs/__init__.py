"""Environments: the task table, wrappers, and what turns a recorded specification into a live environment."""
