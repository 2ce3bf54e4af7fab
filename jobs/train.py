"""Train a run's model as a Ray job.

ray job submit --working-dir . -- python jobs/train.py RUN.yaml [section.key=value ...]
"""

import sys

from _start import run_job

if __name__ == "__main__":
    sys.exit(run_job("train", sys.argv[1:]))
