"""Warm boxes by their settings: the one of the settings asked for is at hand, checked, when a program comes.

For one thread, which starts and uses them all; the actors that judge have one each. It runs no program and judges none.
"""

from __future__ import annotations

from collections import OrderedDict
from contextlib import AbstractContextManager

from evolcoder.sandbox.box import BoxSettings, Sandbox
from evolcoder.sandbox.probe import self_check

_MOST_WARM = 2
"""A warm box of DS-1000's holds libraries such as TensorFlow in memory: those of the settings used last are kept, no more."""


class WarmBoxes(AbstractContextManager["WarmBoxes"]):
    """Use it as a context manager; leaving ends all boxes.

    Args:
        settings: of the box that is started at once.

    Raises:
        SandboxError: the level cannot be had on this machine.
    """

    def __init__(self, settings: BoxSettings) -> None:
        self._boxes: OrderedDict[BoxSettings, Sandbox] = OrderedDict()  # the one used last is at the end
        self.get(settings)

    def __exit__(self, *_: object) -> None:
        while self._boxes:
            self._boxes.popitem()[1].close()

    def get(self, settings: BoxSettings) -> Sandbox:
        """The box of these settings, which has passed its self-check. It may end the one that was unused for longest.

        Raises:
            SandboxError: it cannot be started, or does not hold.
        """
        if settings not in self._boxes:
            if len(self._boxes) >= _MOST_WARM:
                self._boxes.popitem(last=False)[1].close()
            box = Sandbox(settings)
            try:
                self_check(box)
            except BaseException:
                box.close()
                raise
            self._boxes[settings] = box
        self._boxes.move_to_end(settings)
        return self._boxes[settings]
