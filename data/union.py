"""Things that belong together, also through each other (union-find). Knows nothing of pictures."""

from __future__ import annotations

from collections import defaultdict


class Union:
    """Places 0 to N - 1 that are joined into groups."""

    def __init__(self, count: int) -> None:
        self._parent = list(range(count))

    def find(self, i: int) -> int:
        """Return the place that stands for the group of ``i``."""
        parent = self._parent
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    def join(self, i: int, j: int) -> None:
        """Make one group of those of ``i`` and ``j``."""
        self._parent[self.find(i)] = self.find(j)

    def groups(self) -> list[tuple[int, ...]]:
        """Return all groups, also of one place: places rise in each, groups by their first."""
        members: defaultdict[int, list[int]] = defaultdict(list)
        for i in range(len(self._parent)):
            members[self.find(i)].append(i)
        return [tuple(places) for places in members.values()]
