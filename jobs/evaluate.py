"""Evaluate a run's models as a Ray job.

ray job submit --working-dir . -- python jobs/evaluate.py RUN.yaml [section.key=value ...]
"""

import sys

from _start import run_job

if __name__ == "__main__":
    sys.exit(run_job("evaluate", sys.argv[1:]))
