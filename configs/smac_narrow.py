"""SMAC's form for narrow data, on a task of any family: `--config=configs/smac_narrow.py:TASK`.

For data of one policy or of few, as D4RL's medium and expert, which configs/smac.py, whose form goes by the family,
does not take for narrow outside Adroit, kitchen and AntMaze. docs/recipe.md compares the two on such data.
"""

from ml_collections import ConfigDict

from configs import smac


def get_config(name: str = "locomotion") -> ConfigDict:
    """SMAC for narrow data on a task; `TASK-small` is a preset for two CPU cores."""
    config = smac.get_config(name, narrow=True)
    config.algorithm = "smac_narrow"
    return config
