"""Error classes of the toolbox: every message says what is wrong, where, what was expected and what to do, in one line."""

__all__ = [
    "CheckpointError",
    "ConfigError",
    "DataError",
    "DenseError",
    "DependencyError",
    "NonFiniteError",
    "OperatorError",
    "VideoError",
]


class DenseError(Exception):
    """Base of all errors that a user can mend; command lines print it as one line and exit with 1."""


class ConfigError(DenseError, ValueError):
    """A configuration file, key, value or registry name is wrong."""


class DataError(DenseError, ValueError):
    """A data file (annotations, images, result files) is wrong."""


class CheckpointError(DenseError, ValueError):
    """A checkpoint cannot be read, or does not fit the model."""


class VideoError(DenseError, ValueError):
    """A video or folder of frames cannot be read or written."""


class OperatorError(DenseError, ValueError):
    """A custom operator was called with wrong arguments, or its binary cannot be used."""


class NonFiniteError(DenseError, FloatingPointError):
    """Outputs or losses of a model are NaN or infinite."""


class DependencyError(DenseError, ImportError):
    """An optional package is missing; the message says which one and how to get it."""
