"""What the numbers of loss terms may be."""

import dataclasses
import math
from typing import Any

from smac_jax.errors import InputError

_INFINITE = math.inf
# Lowest and highest value by name of a field, the same in all terms; the others are any finite number.
_RANGES = {
    "weight": (0.0, _INFINITE),
    "discount": (0.0, 1.0),
    "tau": (0.0, 1.0),
    "policy_delay": (1, _INFINITE),
    "target_delay": (1, _INFINITE),
    "steps": (1, _INFINITE),
    "lead": (0, _INFINITE),
    "samples": (1, _INFINITE),
    "subset": (0, _INFINITE),
    "smoothing": (0.0, _INFINITE),
    "smoothing_clip": (0.0, _INFINITE),
    "observation_noise": (0.0, _INFINITE),
    "policy_fraction": (0.0, 1.0),
    "expectile": (0.0, 1.0),
    "inverse_temperature": (0.0, _INFINITE),
    "max_weight": (0.0, _INFINITE),
}


def check_ranges(term: Any, prefix: str = "terms") -> None:
    """Check the numbers of a dataclass, and of the dataclasses in it.

    Raises:
        InputError: names the first that is not finite or out of its range.
    """
    for field in dataclasses.fields(term):
        value, name = getattr(term, field.name), f"{prefix}.{field.name}"
        if dataclasses.is_dataclass(value):
            check_ranges(value, name)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            low, high = _RANGES.get(field.name, (-_INFINITE, _INFINITE))
            if not (low <= value <= high and math.isfinite(value)):
                bounds = f"lie in [{low:g}, {high:g}]" if high < _INFINITE else f"be a number from {low:g} on"
                raise InputError(f"{name}={value} must {bounds if low > -_INFINITE else 'be a number'}")
