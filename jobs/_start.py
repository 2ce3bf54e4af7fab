"""What the jobs have in common: each imports this first, which finds the package that was submitted with them."""

import sys
from pathlib import Path

_jobs = Path(__file__).resolve().parent
# The submitted package wins over an installed one, and no file of this folder hides a package of its name.
sys.path[:] = [str(_jobs.parent / "platform"), *(entry for entry in sys.path if Path(entry or ".").resolve() != _jobs)]

try:
    from evolcoder.job import run_job as run_job
except ModuleNotFoundError as error:
    sys.exit(
        f"error: {sys.executable} has no package {error.name}; start the Ray head with evolcoder's environment first on its "
        "PATH (. .venv/bin/activate), then submit again."
    )
