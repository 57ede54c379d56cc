"""The package's version, read by the build and saved with each run."""

__version__ = "0.1.0"
