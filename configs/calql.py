"""Cal-QL (Nakamoto et al., 2023, arXiv 2303.05479): `--config=configs/calql.py:TASK`. CQL with calibrated values."""

from ml_collections import ConfigDict

from configs import cql


def get_config(name: str = "locomotion") -> ConfigDict:
    """Cal-QL on a task; `TASK-small` is a preset for two CPU cores."""
    config = cql.get_config(name)
    config.algorithm = "calql"
    config.terms.conservative.calibrated = True
    # The paper mixes a quarter of offline data into kitchen's batches and a half elsewhere.
    config.online.offline_fraction = 0.25 if config.task == "kitchen" else 0.5
    return config
