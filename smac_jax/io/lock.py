"""One process at a time."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from absl import logging

from smac_jax.errors import InputError


@contextmanager
def locked(path: Path, refusal: str) -> Iterator[None]:
    """Hold a lock on a file until the block ends, or the process does, in whatever way.

    Args:
        path: made if missing. It stays, and means nothing by itself.
        refusal: message where another process holds it.

    Raises:
        InputError: another process holds it, or the file cannot be opened.
    """
    try:
        # Not emptied, so that the file of a finished run keeps its date.
        file = path.open("a")
    except OSError as error:
        raise InputError(f"cannot write {path} ({error.strerror}); choose another --workdir") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(refusal) from error
        except OSError as error:
            # Some network file systems have no locks.
            logging.warning("%s cannot be locked (%s); run one process at a time there", path, error.strerror)
        yield
