"""Evolve the seeds of a run as a Ray job.

ray job submit --working-dir . -- python jobs/evolve.py RUN.yaml [section.key=value ...]
"""

import sys

from _start import run_job

if __name__ == "__main__":
    sys.exit(run_job("evolve", sys.argv[1:]))
