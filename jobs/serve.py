"""Serve a model as a Ray job, until `ray job stop` ends it.

ray job submit --working-dir . -- python jobs/serve.py RUN.yaml [section.key=value ...]
"""

import sys

from _start import run_job

if __name__ == "__main__":
    sys.exit(run_job("serve", sys.argv[1:]))
