"""Settings: `tocsin.yaml` and the environment, read once into one frozen value that everything else is given.

The file says what belongs to the house (programmes, metrics, endpoints, how a CSV is read); the environment and
the command line say what belongs to the machine (where Redis is, where state lives). Unknown names are refused:
a setting that is misspelt must not be a setting that is silently off.
"""

import os
from collections.abc import Mapping
from io import StringIO
from math import inf
from pathlib import Path
from typing import Any, Literal

import msgspec
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError

from connectors.http_settings import HttpSettings, problem_of
from connectors.kafka_link import KafkaInput, KafkaTopic
from connectors.targets.loading import DeclaredTarget
from feedback.ids import DEFAULT_SHARDS, MAX_SHARDS
from feedback.instants import parse_span
from feedback.metrics import STANDARD, Direction, Metric, thirds
from feedback.redaction import Redactor
from scoring.spikes import SpikeSettings

CHECKOUT = Path(__file__).resolve().parent.parent
"""Where the project's own rules and default settings lie: we run from a checkout or an image."""
DEFAULT_FILE = CHECKOUT / "tocsin.yaml"


class SettingsError(Exception):
    """The settings cannot be used. The text names the file, the place, what was found and what was expected."""


class Programme(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    rules: str
    """Name of its set in `rules/sets/`."""


class DeclaredMetric(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    low: float
    high: float
    direction: Direction = Direction.HIGHER_IS_BETTER
    bands: dict[str, float] = {}
    """Name to highest score in it, ascending; thirds of the scale when none are given."""


class DeclaredEndpoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A receiver of webhooks. Secrets are references, `env:NAME` or `file:/path`, never the secret itself."""

    name: str
    url: str
    secrets: list[str]
    events: tuple[str, ...] = ("*",)
    programmes: list[str] = []
    format: str = "cloudevents"
    allow_private: bool = False
    timeout_s: float = 15.0
    max_age_s: float = 86_400.0
    headers: dict[str, str] = {}


class EngineSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    shards: int = DEFAULT_SHARDS
    """Fixed when the store is made. About one for every 60 open cases expected."""
    lanes: int = 0
    """How many lanes a new store is cut into, an engine process for each; 0 takes what the store has, or one."""
    placed_by: Literal["", "customer"] = ""
    """Where a new store puts a customer: by the partition of a topic if all comes from Kafka, or always by the hash."""
    epoch_ms: int = 1000
    """How often state is snapshotted: what a crash replays at most."""
    heartbeat_s: int = 0
    """How often the engine says that it works, as an event for a watchdog outside; 0 never."""


class Privacy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    seal: bool = True
    """Whether what is personal is kept only under keys that an erasure can destroy (`docs/privacy.md`)."""
    redact: tuple[str, ...] = ()
    """Kinds of `feedback.redaction` that are taken out of what customers write before anything reads it."""
    redact_patterns: dict[str, str] = {}
    """More of them: what is shown instead, and an RE2 pattern."""

    def redactor(self) -> Redactor | None:
        """None when nothing is to be taken out. Raises ValueError."""
        return Redactor(self.redact, self.redact_patterns) if self.redact or self.redact_patterns else None


class Retention(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long what is done with is kept; a span such as `30d`, or `forever`."""

    streams: str = "1d"
    """Entries of the input and action streams that every resume is past."""
    journals: str = "7d"
    """The same of records that came by files, pipes and the engine's own hand: history to replay and to explain by."""
    events: str = "30d"
    """Entries of the stream of events that every consumer group has acknowledged."""
    dead_letters: str = "90d"
    closed_cases: str = "2192d"
    """Records and logs of cases, after their close: six years."""

    def seconds(self, name: str) -> int | None:
        """None for ever. Raises ValueError."""
        text = getattr(self, name)
        return None if text == "forever" else parse_span(text)


class Inputs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where responses come from, besides what the command line names; nothing means the Redis streams."""

    kafka: dict[str, KafkaInput] = {}
    """By the name under which the place is kept; it is also the records' default source."""


class Outputs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where events go besides the store."""

    kafka: KafkaTopic | None = None


SHORTEST_S = 3600


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    programmes: dict[str, Programme] = {}
    rules: str = ""
    metrics: dict[str, DeclaredMetric] = {}
    engine: EngineSettings = EngineSettings()
    endpoints: list[DeclaredEndpoint] = []
    targets: list[DeclaredTarget] = []
    csv: dict[str, Any] = {}
    inputs: Inputs = Inputs()
    outputs: Outputs = Outputs()
    http: HttpSettings = HttpSettings()
    privacy: Privacy = Privacy()
    retention: Retention = Retention()
    spikes: SpikeSettings = SpikeSettings()


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a command is told."""

    file: Path
    rules: Path
    """The directory of sets, taxonomies, rosters and templates."""
    programmes: Mapping[str, Programme]
    metrics: Mapping[str, Metric]
    engine: EngineSettings
    endpoints: tuple[DeclaredEndpoint, ...]
    targets: tuple[DeclaredTarget, ...] = ()
    csv: Mapping[str, Any]
    """How the columns of a CSV file are to be read (`connectors/csv_mapping.py`)."""
    inputs: Inputs
    outputs: Outputs
    http: HttpSettings
    privacy: Privacy = Privacy()
    retention: Retention = Retention()
    spikes: SpikeSettings = SpikeSettings()
    """Which themes are watched for change, and by what segments."""
    state: Path
    """Snapshots, journals, stored rules, and the embedded server's data."""
    vault_file: Path | None = None
    """The keys of what is sealed; see `vault`."""
    redis: str
    """URL of a Redis or Valkey; empty means the embedded one."""
    metrics_port: int
    """0 takes a free one."""
    metrics_host: str = "127.0.0.1"
    """The address of `/metrics`, `/health` and `/ready`."""

    @property
    def journals_retain_s(self) -> float:
        """Seconds for which a journal keeps what was read of it."""
        kept_s = self.retention.seconds("journals")
        return inf if kept_s is None else kept_s

    @property
    def vault(self) -> Path:
        """Where the vault lies: in the state, unless it was named."""
        return self.vault_file or self.state / "vault" / "keys"


def load(file: Path | None = None, environ: Mapping[str, str] = os.environ) -> Settings:
    """Settings from *file* (else `TOCSIN_SETTINGS`, else `tocsin.yaml` here, else the shipped one).

    Raises SettingsError.
    """
    named = file or (Path(environ["TOCSIN_SETTINGS"]) if environ.get("TOCSIN_SETTINGS") else None)
    path = named or (Path("tocsin.yaml") if Path("tocsin.yaml").exists() else DEFAULT_FILE)
    declared = _read(path)
    for name in declared.programmes:
        if not name or not all(c.isalnum() or c in "-_" for c in name) or len(name) > 64:
            raise SettingsError(f"{path}: programme {name[:64]!r}: use letters, digits, - and _, at most 64 of them")
    shards = declared.engine.shards
    if not 1 <= shards <= MAX_SHARDS:
        raise SettingsError(f"{path}: engine.shards is {shards}; expected 1 to {MAX_SHARDS}")
    if not 0 <= declared.engine.lanes <= shards:
        raise SettingsError(f"{path}: engine.lanes is {declared.engine.lanes}; expected 1 to {shards}")
    if not 50 <= declared.engine.epoch_ms <= 60_000:
        raise SettingsError(f"{path}: engine.epoch_ms is {declared.engine.epoch_ms}; expected 50 to 60000")
    if declared.engine.heartbeat_s and not 5 <= declared.engine.heartbeat_s <= 86_400:
        raise SettingsError(f"{path}: engine.heartbeat_s is {declared.engine.heartbeat_s}; expected 5 to 86400, or 0")
    programmes = declared.programmes or {"default": Programme(rules="contact-centre")}
    for name, topic in declared.inputs.kafka.items():
        if topic.programme and topic.programme not in programmes:
            raise SettingsError(f"{path}: inputs.kafka.{name}: programme {topic.programme[:64]!r} is not declared")
    for name in declared.retention.__struct_fields__:
        try:
            kept_s = declared.retention.seconds(name)
        except ValueError as error:
            raise SettingsError(f"{path}: retention.{name}: {error}; or say forever") from None
        if kept_s is not None and kept_s < SHORTEST_S:
            raise SettingsError(f"{path}: retention.{name} is {kept_s} s; at least an hour, or forever")
    try:
        declared.privacy.redactor()
    except ValueError as error:
        raise SettingsError(f"{path}: privacy.redact: {error}") from None
    if problem := problem_of(declared.http):
        raise SettingsError(f"{path}: http.{problem}")
    for name in (*declared.http.hooks, *declared.http.callbacks):
        if name not in programmes:
            raise SettingsError(f"{path}: http.hooks, http.callbacks: programme {name[:64]!r} is not declared")
    metrics = {**STANDARD, **{name: _metric(path, name, m) for name, m in declared.metrics.items()}}
    if problem := declared.spikes.problem():
        raise SettingsError(f"{path}: spikes.{problem}")
    if declared.spikes.score != "sentiment" and declared.spikes.score not in metrics:
        raise SettingsError(f"{path}: spikes.score: {declared.spikes.score[:60]!r} is neither sentiment nor a metric")
    rules = Path(declared.rules) if declared.rules else CHECKOUT / "rules"
    try:
        port = int(environ.get("TOCSIN_METRICS_PORT", "9464"))
    except ValueError:
        raise SettingsError(f"TOCSIN_METRICS_PORT is {environ['TOCSIN_METRICS_PORT']!r}; expected a number") from None
    return Settings(
        file=path,
        rules=rules if rules.is_absolute() else path.resolve().parent / rules,
        programmes=programmes,
        metrics=metrics,
        engine=declared.engine,
        endpoints=tuple(declared.endpoints),
        targets=tuple(declared.targets),
        csv=declared.csv,
        inputs=declared.inputs,
        outputs=declared.outputs,
        http=declared.http,
        privacy=declared.privacy,
        retention=declared.retention,
        spikes=declared.spikes,
        vault_file=Path(environ["TOCSIN_VAULT"]) if environ.get("TOCSIN_VAULT") else None,
        state=Path(environ.get("TOCSIN_STATE", ".tocsin")),
        redis=environ.get("TOCSIN_REDIS_URL", ""),
        metrics_port=port,
        metrics_host=environ.get("TOCSIN_METRICS_HOST") or "127.0.0.1",
    )


def _read(path: Path) -> _File:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SettingsError(f"{path} does not exist; name another with --settings, or write one") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: {error}") from None
    try:
        plain = YAML(typ="safe", pure=True).load(StringIO(text))
    except MarkedYAMLError as error:
        mark = error.problem_mark
        where = f":{mark.line + 1}:{mark.column + 1}" if mark is not None else ""
        raise SettingsError(f"{path}{where}: {error.problem}") from None
    try:
        return msgspec.convert(plain, _File)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{path}: {error}") from None


def _metric(path: Path, name: str, declared: DeclaredMetric) -> Metric:
    if declared.low >= declared.high:
        raise SettingsError(
            f"{path}: metrics.{name}: low is {declared.low:g} and high {declared.high:g}; low must be less"
        )
    if not declared.bands:
        return thirds(name, declared.low, declared.high, declared.direction)
    tops = list(declared.bands.values())
    if tops != sorted(set(tops)) or tops[-1] != declared.high:
        raise SettingsError(f"{path}: metrics.{name}.bands must ascend and end at high, {declared.high:g}")
    return Metric(
        name=name,
        low=declared.low,
        high=declared.high,
        direction=declared.direction,
        bands=tuple(declared.bands.items()),
    )
