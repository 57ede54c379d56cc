"""Data: Minari datasets, their validation, the replay buffer, and recipes that build datasets."""
