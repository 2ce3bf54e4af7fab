"""``python -m evolcoder.endpoint.scripted``: the scripted teacher from the command line."""

from __future__ import annotations

import argparse
import sys
import threading

from evolcoder.endpoint.scripted.server import FAULTS, Script, scripted_teacher


def main() -> None:
    """Serve until interrupted; the first line printed is the base URL."""
    parser = argparse.ArgumentParser(prog="python -m evolcoder.endpoint.scripted", description="A scripted teacher.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8100)
    parser.add_argument("--model", default=Script.model)
    parser.add_argument("--api-key", default=None)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--latency-seconds", type=float, default=0.0)
    parser.add_argument("--words", type=int, default=Script.words)
    parser.add_argument("--retry-after-seconds", type=float, default=Script.retry_after_seconds)
    parser.add_argument("--drip-seconds", type=float, default=Script.drip_seconds)
    parser.add_argument("--batch-seconds", type=float, default=Script.batch_seconds, help="how long a batch takes")
    parser.add_argument("--fault", action="append", default=[], metavar="NAME=SHARE", help=", ".join(FAULTS))
    options = vars(parser.parse_args())
    host, port = options.pop("host"), options.pop("port")
    try:
        faults = {name: float(share) for name, _, share in (fault.partition("=") for fault in options.pop("fault"))}
        script = Script(faults=faults, **options)
    except ValueError as error:
        parser.error(str(error))
    with scripted_teacher(script, host, port) as teacher:
        sys.stdout.write(f"{teacher.base_url}\n")
        sys.stdout.flush()
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            return


if __name__ == "__main__":
    main()
