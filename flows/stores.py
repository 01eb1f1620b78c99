"""The state directory of a store: what shape it has, which lane's folder an engine runs on, and who holds it.

`store.json` says the shape, which is a schema: names of flow and steps, shards, the stored form, and how the store is
cut into lanes. What would start with empty state is refused. A store of one lane lies in the directory itself; the
lanes of a larger one, and of one that was ever cut anew, lie in a folder of that cut: `lanes-<generation>/<lane>`.
"""

import fcntl
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec

from cases import shard as shards
from feedback.layout import Layout, LayoutError, checked
from flows.alerts import FIRST_STATEFUL, FLOW_ID, STATEFUL
from flows.run import StateError, recovery

FILE = "store.json"


class StoreFile(msgspec.Struct, frozen=True, kw_only=True):
    """What stands in `store.json`. Earlier releases wrote the first three only."""

    flow: str
    shards: int
    form: int
    steps: tuple[str, ...] = FIRST_STATEFUL
    lanes: int = 1
    slots: int = 0
    generation: int = 0
    vault: str = ""
    """Id of the vault that it is sealed with; empty when nothing is sealed."""
    spread: bool = False

    @property
    def layout(self) -> Layout:
        return Layout(
            shards=self.shards, lanes=self.lanes, slots=self.slots, generation=self.generation, spread=self.spread
        )


class _Begun(msgspec.Struct, frozen=True):
    """What stands in a lane's `lane.json`: its recovery store was made."""

    lane: int
    generation: int


def shape_of(layout: Layout, vault: str) -> StoreFile:
    """The shape of a store that this release makes."""
    return StoreFile(
        flow=FLOW_ID, shards=layout.shards, form=shards.VERSION, steps=STATEFUL, lanes=layout.lanes, slots=layout.slots,
        generation=layout.generation, vault=vault, spread=layout.spread,
    )  # fmt: skip


def folder_of(base: Path, layout: Layout, lane: int) -> Path:
    """Where the state of *lane* lies."""
    if layout.lanes == 1 and not layout.generation:
        return base
    return base / f"lanes-{layout.generation}" / str(lane)


def read_shape(base: Path) -> StoreFile | None:
    """The shape of the store in *base*; None when there is none yet. Raises StateError when it cannot be used."""
    path = base / FILE
    try:
        shape = msgspec.json.decode(path.read_bytes(), type=StoreFile)
        checked(shape.layout)
    except FileNotFoundError:
        return None
    except (msgspec.DecodeError, LayoutError) as error:
        raise StateError(f"{path} is damaged ({error}); restore it from a backup of the state directory") from None
    wrong = [f"flow was {shape.flow!r} and is now {FLOW_ID!r}"] if shape.flow != FLOW_ID else []
    if shape.form not in shards.READABLE:
        wrong.append(f"form was {shape.form} and is now {shards.VERSION}")
    if wrong:
        raise StateError(
            f"the store in {base} has another shape: {'; '.join(wrong)}. "
            "Starting would forget its open cases. Run with the release that made it."
        )
    return shape


def write_shape(base: Path, shape: StoreFile) -> None:
    """Make *shape* the one that holds, at once and whole."""
    draft = (base / FILE).with_suffix(".draft")
    draft.write_bytes(msgspec.json.encode(shape, order="deterministic") + b"\n")
    draft.replace(base / FILE)


class Store:
    """One lane of a store, held by this process."""

    def __init__(self, base: Path, layout: Layout, lane: int, *, is_new: bool) -> None:
        self.base, self.layout, self.lane, self.vault = base, layout, lane, ""
        self.is_new = is_new
        """No engine has settled its shape yet: where customers are placed is still to be said."""

    @property
    def folder(self) -> Path:
        return folder_of(self.base, self.layout, self.lane)

    def seal(self, vault: str) -> None:
        """Go by the vault of that id from here on; what an earlier release wrote is carried over. Raises StateError."""
        self.vault = vault
        with self._shape_held() as shape:
            if shape is None:
                return
            if shape.vault and shape.vault != vault:
                raise StateError(
                    f"the store in {self.base} has another shape: vault was {shape.vault!r} and is now {vault!r}. "
                    "What it sealed could not be read. Run with the settings and the vault that made it."
                )
            if (shape.vault, shape.form) != (vault, shards.VERSION):  # from here on an earlier release refuses it
                write_shape(self.base, msgspec.structs.replace(shape, vault=vault, form=shards.VERSION))

    @contextmanager
    def _shape_held(self) -> Iterator[StoreFile | None]:
        """The shape, while no other lane changes it."""
        with _locked(self.base / "creating.lock", fcntl.LOCK_EX, "another engine is making this store"):
            yield read_shape(self.base)

    def settle(self, slots: int) -> None:
        """Fix the shape of a new store; what another lane's engine has fixed meanwhile holds. Raises StateError."""
        with self._shape_held() as shape:
            if shape is None:
                try:
                    self.layout = checked(msgspec.structs.replace(self.layout, slots=slots))
                except LayoutError as error:
                    raise StateError(f"a store cannot be made so: {error}") from None
                write_shape(self.base, shape_of(self.layout, self.vault))
            else:
                compare(self.base, shape, self.layout.shards, self.layout.lanes)
                self.layout = shape.layout
        self.is_new = False

    def begin(self, steps: Sequence[str]) -> None:
        """See that the flow finds its state: *steps* are its ids. Makes a recovery store only the first time."""
        with self._shape_held() as shape:
            had = set(shape.steps if shape is not None else STATEFUL)
            gone = sorted(had - set(steps))
            if gone:
                raise StateError(
                    f"the store in {self.base} holds state of the steps {', '.join(gone)}, which this release does not "
                    "have: it would start with empty state. Run the release that made it."
                )
            if shape is not None and not had.issuperset(STATEFUL):  # of an earlier release, which had fewer
                write_shape(self.base, msgspec.structs.replace(shape, steps=STATEFUL))
        begun = self.folder / "lane.json"
        if begun.exists() and not (self.folder / "recovery").exists():
            raise StateError(
                f"{self.folder / 'recovery'} is gone, and with it every open case of this lane; restore it from a "
                f"backup. To start with no cases all the same, remove {begun}."
            )
        recovery(self.folder)
        if not begun.exists():
            mark_begun(self.folder, self.lane, self.layout)


def mark_begun(folder: Path, lane: int, layout: Layout) -> None:
    """Note that the recovery store in *folder* was made: from here on it is not made anew when it is gone."""
    (folder / "lane.json").write_bytes(msgspec.json.encode(_Begun(lane, layout.generation)) + b"\n")


@contextmanager
def owned(base: Path, *, shard_count: int, lane: int | None = None, lanes: int = 0) -> Iterator[Store]:
    """Hold one lane of the store in *base* for this process; freed by the kernel if we die.

    *lanes*: how many there are to be; 0 takes what the store has, and one for a new store. Without *lane* there must
    be one only. Raises StateError for another engine on the lane, a store cut otherwise, a reshard under way.
    """
    base.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        held.enter_context(
            _locked(base / "store.lock", fcntl.LOCK_SH | fcntl.LOCK_NB, f"{base} is being cut anew by tocsin reshard")
        )
        shape = read_shape(base)
        if shape is not None:
            compare(base, shape, shard_count, lanes)
            layout = shape.layout
        else:
            layout = Layout(shards=shard_count, lanes=lanes or 1, spread=True)
        if lane is None and layout.lanes > 1:
            raise StateError(
                f"{base} is cut into {layout.lanes} lanes: run them all with --processes {layout.lanes}, or each in a "
                "process of its own with --lane"
            )
        if not 0 <= (lane or 0) < layout.lanes:
            raise StateError(f"--lane {lane}: {base} has the lanes 0 to {layout.lanes - 1}")
        store = Store(base, layout, lane or 0, is_new=shape is None)
        store.folder.mkdir(parents=True, exist_ok=True)
        running = f"another engine is running on {store.folder}; stop it, or name another --state"
        held.enter_context(_locked(store.folder / "engine.lock", fcntl.LOCK_EX | fcntl.LOCK_NB, running))
        yield store


@contextmanager
def alone(base: Path) -> Iterator[None]:
    """Hold the whole store: no engine runs on any lane meanwhile. Raises StateError while one does."""
    words = f"an engine is running on {base}, or another tocsin reshard; stop it first"
    with _locked(base / "store.lock", fcntl.LOCK_EX | fcntl.LOCK_NB, words):
        yield


@contextmanager
def _locked(path: Path, how: int, taken: str) -> Iterator[None]:
    with path.open("w") as file:
        try:
            fcntl.flock(file, how)
        except BlockingIOError:
            raise StateError(taken) from None
        yield


def compare(base: Path, shape: StoreFile, shard_count: int, lanes: int) -> None:
    """Refuse settings that would not find what the store holds."""
    if shape.shards != shard_count:
        raise StateError(
            f"the store in {base} has another shape: shards was {shape.shards} and is now {shard_count}. Starting "
            f"would forget its open cases: case ids name their shard. Set engine.shards to {shape.shards}."
        )
    if lanes and shape.lanes != lanes:
        raise StateError(
            f"the store in {base} is cut into {shape.lanes} lanes, and {lanes} are asked for. Starting would leave "
            f"the cases of the other lanes behind. Run it with {shape.lanes}, or stop it and cut it anew: "
            f"tocsin reshard --from {shape.lanes} --to {lanes}"
        )
