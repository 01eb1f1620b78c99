"""How a store is cut into lanes: which shard a customer's cases lie in, and which lane has that shard.

A lane is some partitions of the topics (or a stream of responses), a stream of actions and a recovery directory, run by
one engine process. Everybody who writes an action, reads a partition or holds a shard asks here, so that all agree.
A case keeps its shard for good; only which lane has that shard may change, by `tocsin reshard`.
"""

import msgspec

from feedback.ids import MAX_SHARDS, case_shard, shard_of

DRAWERS = 64
"""Shards for the cases that no customer's are (`flows/watching.py`), after those of the customers; fixed."""
MAX_LANES = 256
"""Lanes that a store may ever have been cut into: its case ids stay good through every later cut."""


class LayoutError(ValueError):
    """Not a layout, or numbers that do not go together; the text says which."""


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """The cut of one store; fixed when the store is made."""

    shards: int
    lanes: int = 1
    slots: int = 0
    """Partitions of the topic whose partition says where a customer belongs; 0 when the customer's hash says it."""
    generation: int = 0
    """Counts the changes of the cut: of two layouts of one store the higher one holds."""
    closed: bool = False
    """The cut is being changed: nothing may be written to a lane until it is done."""
    spread: bool = False
    """Windows count over all lanes: each has one drawer, in one lane. Without it every lane counts for itself, as in
    a store of several lanes that an earlier release made; `tocsin reshard` ends that."""

    def shard(self, programme: str, customer_key: str, partition: int | None) -> int:
        """The shard that holds this customer's cases.

        *partition* is the one that the record came in; with `slots`, every shard belongs to one of them.
        Raises LayoutError when a partition is needed and there is none.
        """
        if not self.slots:
            return shard_of(programme, customer_key, self.shards)
        if partition is None:
            raise LayoutError("this store places customers by the partition of their topic, and this came by none")
        within = shard_of(programme, customer_key, self.shards // self.slots)
        return within * self.slots + partition % self.slots

    def lane_of(self, shard: int) -> int:
        """The lane that has *shard*."""
        if shard >= self.shards + MAX_LANES * DRAWERS:
            return (shard - self.shards - MAX_LANES * DRAWERS) % self.lanes
        if shard >= self.shards:
            block, drawer = divmod(shard - self.shards, DRAWERS)
            if self.spread and not block:
                return drawer % self.lanes
            return block % self.lanes  # what a lane that is no more had, others go on with
        return shard % (self.slots or self.shards) % self.lanes

    def lane_of_case(self, case: str) -> int | None:
        """The lane of a case id; None when it is no case id of this store."""
        shard = self.shard_of_case(case)
        return None if shard is None else self.lane_of(shard)

    def shard_of_case(self, case: str) -> int | None:
        """The shard of a case id; None when it is no case id of this store."""
        return case_shard(case, self.shards + MAX_LANES * DRAWERS)

    def shard_of_drawer(self, lane: int, drawer: int) -> int:
        """The shard of the cases that *drawer* opens, of what *lane* hears."""
        return self.shards + (0 if self.spread else lane * DRAWERS) + drawer

    def shards_of_drawer(self, lane: int, drawer: int) -> list[int]:
        """Every shard in which cases of that drawer may lie that *lane* has now: those of earlier cuts too."""
        first = self.shards + drawer
        every = range(first, first + MAX_LANES * DRAWERS, DRAWERS)
        return [shard for shard in every if self.lane_of(shard) == lane]

    def counts_in(self, shard: int) -> bool:
        """Whether windows count beside the cases of *shard*, of `is_systemic`; those of an earlier cut only end."""
        return not self.spread or shard < self.shards + DRAWERS

    def is_systemic(self, shard: int) -> bool:
        """Whether *shard* holds cases that no customer's are, beside the windows that opened them."""
        return self.shards <= shard < self.shards + MAX_LANES * DRAWERS

    def shard_of_notices(self, lane: int) -> int:
        """The drawer of *lane* that decides on notices; it holds no case."""
        return self.shards + MAX_LANES * DRAWERS + lane

    def is_of_notices(self, shard: int) -> bool:
        """Whether *shard* is such a drawer."""
        return shard >= self.shards + MAX_LANES * DRAWERS

    def lane_of_customer(self, programme: str, customer_key: str) -> int:
        """The lane of a response that comes by a stream; 0 where partitions say it, for streams are unread there."""
        return 0 if self.slots else self.lane_of(shard_of(programme, customer_key, self.shards))

    def lane_of_partition(self, partition: int) -> int:
        """The lane that reads *partition*. Raises LayoutError when customers are not placed by partitions."""
        if not self.slots:
            raise LayoutError("this store places customers by their hash; a partition belongs to no lane")
        return partition % self.slots % self.lanes

    def text(self) -> str:
        """As it is written down: the same layout is the same text."""
        return msgspec.json.encode(self, order="deterministic").decode()


UNKNOWN = Layout(shards=MAX_SHARDS)
"""What a writer assumes of a store that no engine has opened yet: one lane."""


def checked(layout: Layout) -> Layout:
    """*layout*. Raises LayoutError when its numbers do not go together."""
    most = layout.slots or layout.shards
    if not 1 <= layout.shards <= MAX_SHARDS or layout.slots < 0 or layout.generation < 0:
        raise LayoutError(f"{layout.shards} shards, {layout.slots} slots: expected 1 to {MAX_SHARDS} shards")
    if layout.slots > layout.shards:
        raise LayoutError(f"{layout.slots} partitions and {layout.shards} shards: each needs a shard at least")
    if not 1 <= layout.lanes <= min(most, MAX_LANES):
        what = "partitions" if layout.slots else "shards"
        raise LayoutError(f"{layout.lanes} lanes, and there are {most} {what} to go round; expected 1 to {most} lanes")
    return layout


def read_layout(text: str | bytes) -> Layout:
    """The layout that was written down as *text*. Raises LayoutError."""
    try:
        return checked(msgspec.json.decode(text, type=Layout))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise LayoutError(f"not a layout: {error}") from None


def conflict(ours: Layout, found: Layout) -> str:
    """Why a state directory cut as *ours* cannot go with a store that says *found*; empty when it can."""
    same = (ours.shards, ours.lanes, ours.slots) == (found.shards, found.lanes, found.slots)
    if found.generation < ours.generation or (found.generation == ours.generation and same):
        return ""
    return (
        f"the Redis store is cut into {found.lanes} lanes of {found.shards} shards (cut {found.generation}), and this "
        f"state directory into {ours.lanes} of {ours.shards} (cut {ours.generation}): they are not of one another. "
        "Restore both from the same backup, or name the right --state or --redis"
    )
