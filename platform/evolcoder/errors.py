"""The errors a user can meet, as a small tree.

Each message is one sentence (or two) that says what is wrong and what to do. The command line prints the message
alone and exits with ``exit_code``; anything outside this tree is a defect and keeps its traceback. All of them carry
only their message, so that they can be pickled between Ray processes.

    EvolcoderError
    ├── SettingsError         the YAML, an override or an argument (exit code 2)
    ├── DataError             seeds, samples, a benchmark's data
    ├── RunFolderError        the disk, or a stage that is not there
    │   └── RunBusyError      another process works on it
    ├── EndpointError         a teacher or a served model that cannot be used
    │   └── BudgetError       the run would cost more than it may
    ├── IncompleteError       some part did not end well; the same command again does only that part
    ├── SandboxError          programs cannot be run here
    ├── ModelError            a model is not there, or is not one
    ├── TrainingError         training cannot go on
    └── ClusterError          Ray cannot be reached, or lacks what is asked for
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class EvolcoderError(Exception):
    """The base of every expected failure."""

    exit_code = 1

    @property
    def message(self) -> str:
        return str(self.args[0]) if self.args else self.__class__.__name__


class SettingsError(EvolcoderError):
    """The YAML, an override or a command-line argument is wrong."""

    exit_code = 2


class DataError(EvolcoderError):
    """Seed or benchmark data is missing, empty or malformed."""


class RunFolderError(EvolcoderError):
    """The run folder cannot be read or written, or a stage that this one builds on is not there."""


class RunBusyError(RunFolderError):
    """Another process works on the same run."""


class EndpointError(EvolcoderError):
    """A model endpoint cannot be used at all: unreachable, wrong key, unknown model, out of budget."""


class BudgetError(EndpointError):
    """The next request would break the run's budget."""


class IncompleteError(EvolcoderError):
    """A stage did what it could, and some rows are left for the same command run again."""


class SandboxError(EvolcoderError):
    """Untrusted programs cannot be isolated on this machine."""


class ModelError(EvolcoderError):
    """A model's files are missing or cannot be used."""


class TrainingError(EvolcoderError):
    """Training cannot start or did not end well."""


class ClusterError(EvolcoderError):
    """Ray cannot be reached or has not what the run asks for."""


def suggestion(word: str, known: Iterable[str], section: str = "") -> str:
    """What to add to a sentence about an unknown word: the known one that was meant, or all of them."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    if not close:
        return f" (known: {', '.join(sorted(known))})"
    return f" (did you mean {section + '.' if section else ''}{close[0]}?)"
