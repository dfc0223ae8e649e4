"""How times are taken: in turns A B B A, after warming up, with the noise that the same measurement shows itself.

On a shared machine the speed drifts by more than what is to be seen.  Two sides that take short turns see the same
drift; the reversed order of every second round cancels what grows steadily.  A difference counts only where it
exceeds the noise floor: what comes out when a side's turns are split in two and compared with each other.

The standard library only: both sides' processes import this file.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

Clock = Callable[[], float]
# "cpu": of all threads of the process. With one thread it hardly sees what else the machine does.
CLOCKS: dict[str, Clock] = {"wall": time.perf_counter, "cpu": time.process_time}

LEAD_SECONDS = 0.005  # calls before a turn that do not count: caches, sleeping threads
REST_SECONDS = 0.005
MOST_RESTS = 100
LEAST_ROUNDS = 4  # the noise floor needs two rounds in either half
MOST_WARM_UPS = 10


@dataclass(frozen=True)
class Statistics:
    """Seconds per call: quantiles of all calls, and how many there were."""

    median: float
    p20: float
    p80: float
    minimum: float
    calls: int


def statistics(seconds: Sequence[float]) -> Statistics:
    """Of one side's calls.  ValueError for none.

    >>> statistics([3.0, 1.0, 2.0, 5.0, 4.0, 6.0])
    Statistics(median=3.5, p20=2.0, p80=5.0, minimum=1.0, calls=6)
    """
    return Statistics(median(seconds), quantile(seconds, 0.2), quantile(seconds, 0.8), min(seconds), len(seconds))


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which ``share`` of the values lie, between neighbours by linear interpolation.

    >>> quantile([10.0, 20.0, 30.0], 0.25)
    15.0
    """
    ordered = sorted(values)
    if not ordered or not 0 <= share <= 1:
        raise ValueError(f"the {share} quantile of {len(ordered)} values is not defined")
    position = share * (len(ordered) - 1)
    low = math.floor(position)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (position - low) * (ordered[high] - ordered[low])


def geometric_mean(ratios: Sequence[float]) -> float:
    """The mean of ratios: twice as fast and half as fast cancel.  ValueError for none.

    >>> geometric_mean([2.0, 0.5])
    1.0
    """
    if not ratios:
        raise ValueError("the geometric mean of no ratios is not defined")
    return math.exp(math.fsum(map(math.log, ratios)) / len(ratios))


def order(sides: Sequence[str], round_: int) -> list[str]:
    """Whose turn it is in one round: forwards and backwards by turns.

    >>> order(["A", "B"], 0) + order(["A", "B"], 1)
    ['A', 'B', 'B', 'A']
    """
    return list(reversed(sides)) if round_ % 2 else list(sides)


def noise_floor(turns: Sequence[Sequence[float]]) -> float:
    """How far one side seems to differ from itself: rounds 0, 3, 4, 7, ... against 1, 2, 5, 6, ...

    0.03 stands for "3 % faster or slower than itself", so a ratio of 1.03 says nothing.  The halves have half the
    calls that a comparison of two sides has, which makes the floor rather too high than too low.

    >>> round(noise_floor([[1.0], [1.1], [1.1], [1.0]]), 3)
    0.1
    """
    halves: tuple[list[float], list[float]] = ([], [])
    for i, turn in enumerate(turns):
        halves[i % 4 in (1, 2)].extend(turn)
    if not all(halves):
        raise ValueError(f"{len(turns)} turns are too few to compare a side with itself")
    ratio = median(halves[0]) / median(halves[1])
    return max(ratio, 1 / ratio) - 1


def warm_up(call: Callable[[], object], clock: Clock = time.perf_counter) -> int:
    """Call until a call gains nothing on the one before, so that compiling and first touches lie behind.

    Returns the number of calls, at most ``MOST_WARM_UPS``.
    """
    before = math.inf
    for n in range(1, MOST_WARM_UPS + 1):
        start = clock()
        call()
        seconds = clock() - start
        if before < 1.5 * seconds:
            return n
        before = seconds
    return MOST_WARM_UPS


def turn(call: Callable[[], object], seconds: float, clock: Clock = time.perf_counter) -> list[float]:
    """One side's turn: calls for ``seconds``, at least one; each call's time.

    Calls of the first ``LEAD_SECONDS`` do not count, unless one call is ten times as long as that.
    """
    times: list[float] = []
    begin = clock()
    counted_from = begin
    while True:
        start = clock()
        call()
        end = clock()
        if times or start - begin >= LEAD_SECONDS or end - start >= 10 * LEAD_SECONDS:
            if not times:
                counted_from = start
            times.append(end - start)
            if end - counted_from >= seconds:
                return times


def rest(clock: Clock = time.process_time, sleep: Callable[[float], None] = time.sleep) -> int:
    """Wait until the threads of this process sleep; how often it looked, at most ``MOST_RESTS`` times.

    OpenBLAS's spin for a tenth of a second after a product, on cores that the next side needs: layers took twice their
    time after a turn of im2col.
    """
    for n in range(1, MOST_RESTS + 1):
        before = clock()
        sleep(REST_SECONDS)
        if clock() - before < 0.2 * REST_SECONDS:
            return n
    return MOST_RESTS


def interleave(
    sides: Mapping[str, Callable[[float], list[float]]],
    seconds: float,
    turn_seconds: float = 0.1,
    clock: Clock = time.perf_counter,
) -> dict[str, list[list[float]]]:
    """Let the sides take turns for about ``seconds`` in all: for each side, the times of each of its turns.

    ``sides`` maps a name to a function that takes one turn of so many seconds.  Rounds come in pairs, at least
    ``LEAST_ROUNDS``, with turns shorter than ``turn_seconds`` where these would not fit.  Sides in processes of their
    own `rest` before they answer.
    """
    turns: dict[str, list[list[float]]] = {name: [] for name in sides}
    start, round_ = clock(), 0
    share = min(turn_seconds, seconds / (LEAST_ROUNDS * len(sides)))
    while round_ < LEAST_ROUNDS or round_ % 2 or clock() - start < seconds:
        for name in order(list(sides), round_):
            turns[name].append(sides[name](share))
        round_ += 1
    return turns
