"""Evol Stop as it goes: evolve a round, train on all rounds so far, score on the development set, decide, until it ends.

The rule is ``study.stopping``'s, and what is decided is read back by ``evol_stop``. Each time it starts with round 0: what is
done is skipped, and a decision that was made by the same rule, on the same scores, stands.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from itertools import count

from evolcoder.console import Reporter
from evolcoder.errors import DataError
from evolcoder.making.kinds import MAKERS
from evolcoder.run.evol_stop import DECISIONS_FILE, RecordedDecision, decided, stopping_stage, stopping_variant, with_rounds
from evolcoder.run.folder import RunFolder
from evolcoder.settings.run import RunSettings
from evolcoder.stages.listing import run_stages
from evolcoder.storage.stage import Stage


def evolve_until_it_ends(settings: RunSettings, run: RunFolder, reporter: Reporter) -> None:
    """Make rounds, models and scores until the rule says that no further round is to be evolved.

    Raises:
        EvolcoderError: what the making of a stage raises; the same call goes on.
    """
    scores: list[Stage] = []
    for number in count():
        last = max(1, number)  # the seeds alone decide nothing, so that round 1 is evolved with them
        model = stopping_variant(settings, number).name
        entries = run_stages(settings, run)
        rounds = [entry for entry in entries if entry.kind == "round"][: last + 1]
        (training,) = (entry for entry in entries if entry.kind == "train" and entry.model == model)
        score = next(entry for entry in entries if entry.kind == "evaluate" and entry.model == model)
        MAKERS["round"](with_rounds(settings, last, 0), run, rounds, reporter)
        try:
            MAKERS["train"](settings, run, [training], reporter)
        except DataError as error:
            if number:
                raise
            advice = "evolve.rounds=auto starts with a model of the seeds: give seeds with responses, or set it to a number"
            raise DataError(f"{error.message.rstrip('.')}; {advice}.") from None
        MAKERS["evaluate"](settings, run, [score], reporter)
        scores.append(score.stage)
        decision = _decision(settings, run, scores)
        reporter.stage(f"Evol Stop after round {number}")
        reporter.say(decision["reason"])
        if not decision["go_on"]:
            return


def _decision(settings: RunSettings, run: RunFolder, scores: Sequence[Stage]) -> RecordedDecision:
    """The decision after the last of these scores: the one that is there, or a new one, which is put there."""
    from evolcoder.study.compare import pass_rates
    from evolcoder.study.stopping import StoppingRule, decide

    number = len(scores) - 1
    made = list(decided(settings, run).decisions)
    if len(made) > number:
        return made[number]
    stage = stopping_stage(settings, run, scores).pinned()
    rule = stage.resolved_identity["rule"]
    decision = decide([pass_rates(score.folder) for score in scores], StoppingRule(**rule))
    made.append({"after_round": number, **asdict(decision)})
    stage.begin(DECISIONS_FILE).write_text(DECISIONS_FILE, json.dumps({**stage.resolved_identity, "decisions": made}, indent=1))
    stage.publish([DECISIONS_FILE], {"rounds": number, "best_round": decision.best_round, "go_on": decision.go_on})
    return made[number]
