"""Stand-ins: what replaces global objects as long as any thread needs it, and asks which thread it is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any


class StandIns:
    """A context that any number of threads may be in: the first to enter installs, the last to leave removes.

    Saving and restoring in each thread would go wrong: the last to restore might put back what another had installed.
    What others have put in the place of a stand-in meanwhile stays.

    Args:
        places: object, name of its attribute, and a function of what stands there that makes its stand-in.
    """

    def __init__(self, *places: tuple[Any, str, Callable[[Any], Any]]) -> None:
        self._places = places
        self._lock, self._users = threading.RLock(), 0
        self._originals: list[Any] = []
        self._stand_ins: list[Any] = []

    def __enter__(self) -> None:
        with self._lock:
            self._users += 1
            if self._users > 1:
                return
            originals: list[Any] = [getattr(owner, name) for owner, name, _ in self._places]
            if not self._stand_ins or any(a is not b for a, b in zip(originals, self._originals, strict=True)):
                makers = [make for _, _, make in self._places]
                made = [make(old) for make, old in zip(makers, originals, strict=True)]
                self._originals, self._stand_ins = originals, made
            for (owner, name, _), stand_in in zip(self._places, self._stand_ins, strict=True):
                setattr(owner, name, stand_in)

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._users -= 1
            if self._users:
                return
            for (owner, name, _), original, stand_in in zip(
                self._places, self._originals, self._stand_ins, strict=True
            ):
                if vars(owner).get(name) is stand_in or getattr(owner, name) is stand_in:
                    setattr(owner, name, original)
