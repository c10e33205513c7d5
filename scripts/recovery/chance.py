"""Whether one list of figures is larger than another beyond chance.

What a path does to two senders with one seed is the same only until they first differ; from then on each run is one of its own,
and so is the next run of the same sender. Medians of a few such figures differ though nothing else does.
"""

import itertools
import math
import random

# So many ways to share figures out are all looked at; of more, so many by lot.
SHARES = 20_000


def exceeds(ours, theirs, level=0.05):
    """Whether `ours` are larger, by a test of ranks (Wilcoxon, Mann and Whitney): if whose figure is whose were decided by lot, they
    would be as large as they are with a probability of `level` at most. With three figures each that is so only if all of ours are
    larger than all of theirs."""
    if not ours or not theirs:
        return False
    return probability(ours, theirs) <= level


def probability(ours, theirs):
    """How likely the ranks of `ours` are to be as high as they are, or higher, by lot."""
    ranks = ranked([*ours, *theirs])
    seen = sum(ranks[: len(ours)])
    if math.comb(len(ranks), len(ours)) <= SHARES:
        shares = [sum(share) for share in itertools.combinations(ranks, len(ours))]
    else:
        lot = random.Random(1)
        # That which was seen is one of them.
        shares = [seen, *(sum(lot.sample(ranks, len(ours))) for _ in range(SHARES))]
    return sum(share >= seen - 1e-9 for share in shares) / len(shares)


def ranked(figures):
    """The rank of each figure; equal ones share theirs."""
    ordered = sorted(figures)
    places = {}
    for place, figure in enumerate(ordered, 1):
        places.setdefault(figure, []).append(place)
    return [sum(places[figure]) / len(places[figure]) for figure in figures]
