"""Train a run's model as a Ray job.

ray job submit --working-dir . -- python jobs/train.py RUN.yaml [section.key=value ...]
"""

import sys
from pathlib import Path

_jobs = Path(__file__).resolve().parent
# The submitted package wins over an installed one, and no file of this folder hides a package of its name.
sys.path[:] = [str(_jobs.parent / "platform"), *(entry for entry in sys.path if Path(entry or ".").resolve() != _jobs)]

try:
    from evolcoder import verbs
except ModuleNotFoundError as error:
    sys.exit(
        f"error: {sys.executable} has no package {error.name}; start the Ray head with evolcoder's environment first on its "
        "PATH (. .venv/bin/activate), then submit again."
    )

if __name__ == "__main__":
    sys.exit(verbs.run_verb(verbs.train, sys.argv[1:]))
