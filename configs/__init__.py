"""Configurations: `configs/ALGO.py:TASK` for pre-training; `configs/finetune.py` for the online methods."""
