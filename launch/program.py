"""What every program does alike: flags, help, exit codes and one-line errors."""

import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
from absl import app, flags, logging
from flax.traverse_util import flatten_dict
from ml_collections import ConfigDict, config_flags

from smac_jax.errors import InputError

EXIT_BAD_INPUT = 2
_HELP = ("--help", "-h", "--helpfull", "--helpshort", "-help")

Parser = Callable[[Sequence[str]], list[str]]


def _fail(message: object) -> None:
    print("error: " + " ".join(str(message).split()), file=sys.stderr)
    sys.exit(EXIT_BAD_INPUT)


def config_fields(config: ConfigDict) -> list[str]:
    """One line `--config.a.b=value` for each field."""
    return [f"--config.{name}={value}" for name, value in sorted(flatten_dict(config.to_dict(), sep=".").items())]


def _print_help(description: str, module: Any) -> None:
    print(description.strip(), "\n\nFlags:")
    for flag in sorted(flags.FLAGS.get_key_flags_for_module(module), key=lambda flag: flag.name):
        default = "no default" if flag.default is None else f"default {flag.default}"
        print(f"  --{flag.name}: {flag.help} ({default})")
    config = flags.FLAGS["config"].value if "config" in flags.FLAGS else None
    if isinstance(config, ConfigDict):
        print("\nConfiguration fields, with their values here; the comments in configs/ explain each:")
        print("\n".join(f"  {line}" for line in config_fields(config)))


def parse(argv: Sequence[str]) -> list[str]:
    """Parse all flags."""
    return list(flags.FLAGS(list(argv)))


def _message(error: BaseException) -> str:
    """One line for what the flag parser raises."""
    text = str(error.args[0] if error.args else error)
    if "Traceback" in text:
        # A configuration file's own error arrives as the text of its traceback, whose last line is `type: message`.
        return text.strip().splitlines()[-1].partition(": ")[2]
    if isinstance(error, AttributeError | KeyError):
        # ml_collections: a quoted name, and with luck a quoted suggestion.
        names = re.findall(r"\w+(?:\.\w+)*", text.replace("\\n", " ").replace("Did you mean", ""))
        suggestion = f"; did you mean {names[1]}?" if len(names) > 1 else "; --help lists the fields"
        return f"unknown configuration field {names[0]}{suggestion}"
    return text


def flag_values(argv: Sequence[str], name: str) -> list[str]:
    """What a command line gives a flag, as `--name=value` or as `--name value`."""
    values = []
    for argument, following in zip(argv, [*argv[1:], ""], strict=True):
        flag, equals, value = argument.partition("=")
        if flag in (f"--{name}", f"-{name}"):
            values.append(value if equals else following)
    return values


def _check_datasets_path() -> None:
    """Refuse a folder of datasets that Minari, which makes it, could not make."""
    path = Path(os.environ.get("MINARI_DATASETS_PATH") or ".").absolute()
    if not next(place for place in (path, *path.parents) if place.exists()).is_dir():
        raise InputError(f"MINARI_DATASETS_PATH={path} is no folder; set it to the one that holds the datasets")


def use_compilation_cache() -> None:
    """Keep compiled programs in the user's cache folder, so that a run like an earlier one starts without compiling.

    Where the folder cannot be written, every run compiles. A folder that JAX was told of (JAX_COMPILATION_CACHE_DIR)
    is left as it is; JAX_ENABLE_COMPILATION_CACHE=false does without.
    """
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "smac_jax" / "compiled"
        # Compiled programs are run as they are found, so that nobody else may put any there.
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (OSError, RuntimeError):
        return
    if os.access(folder, os.W_OK):
        jax.config.update("jax_compilation_cache_dir", str(folder))
        # Acting and evaluating compile in less than JAX's own limit of a second.
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


def run(main: Callable[[], None], parser: Parser = parse, goes_on: bool = False) -> None:
    """Run a program: exit code 0 when done, 2 with one line on bad input, 1 with a traceback on a failure.

    Args:
        main: the program, after its flags are parsed.
        parser: parses the command line; raises `flags.Error` or `InputError` on what it cannot use.
        goes_on: whether the same command goes on after an interruption, from checkpoints that the program writes.
    """
    module = sys.modules["__main__"]

    def flags_parser(argv: Sequence[str]) -> list[str]:
        wants_help = any(argument in _HELP for argument in argv)
        rest: list[str] = []
        try:
            rest = parser([argument for argument in argv if argument not in _HELP])
        except (flags.Error, InputError, AttributeError, KeyError, TypeError, ValueError, OSError) as error:
            # Help is given whatever else is missing.
            if not wants_help:
                _fail(_message(error))
        if wants_help:
            _print_help(module.__doc__ or "", module)
            sys.exit(0)
        if len(rest) > 1:
            _fail(f"unexpected argument {rest[1]!r}; flags begin with --, see --help")
        return rest

    def guarded(_: Sequence[str]) -> None:
        # orbax and absl report routine work at INFO level.
        logging.set_verbosity(logging.WARNING)
        use_compilation_cache()
        try:
            _check_datasets_path()
            main()
        except InputError as error:
            _fail(error)
        except KeyboardInterrupt:
            promise = "; the same command goes on from the last checkpoint" if goes_on else ""
            print(f"interrupted{promise}", file=sys.stderr)
            sys.exit(1)

    app.run(guarded, flags_parser=flags_parser)


def parse_seeds(text: Sequence[str]) -> list[int]:
    """Seeds from a list flag.

    Raises:
        InputError: none, repeated, or not non-negative integers.
    """
    try:
        seeds = [int(seed) for seed in text]
    except ValueError as error:
        raise InputError(f"--seeds={','.join(text)} is not a list of integers; write --seeds=0,1,2") from error
    if not seeds or len(set(seeds)) != len(seeds) or min(seeds) < 0 or max(seeds) >= 2**32:
        raise InputError(f"--seeds={','.join(text)} must be different non-negative integers")
    return seeds


def required(flag: flags.FlagHolder[str | None]) -> str:
    """Value of a flag that has no default.

    Raises:
        InputError: it was not given.
    """
    if flag.value is None:
        raise InputError(f"--{flag.name} is missing; see --help")
    return flag.value


def check_page(flag: flags.FlagHolder[str | None]) -> None:
    """Check that a page can be written before the work that fills it.

    Raises:
        InputError: the flag names a folder, or a file in none.
    """
    if flag.value is None:
        return
    if Path(flag.value).is_dir():
        raise InputError(f"--{flag.name}={flag.value} is a folder; name a Markdown file")
    if not Path(flag.value).absolute().parent.is_dir():
        raise InputError(f"there is no folder for --{flag.name}={flag.value}; make it first")


def overrides(name: str = "config") -> dict[str, Any]:
    """What the command line set of a configuration flag, by dotted name."""
    return dict(config_flags.get_override_values(flags.FLAGS[name]))
