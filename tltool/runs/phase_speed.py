"""Speed of a phase, and its estimated time to completion (ETA)."""

from dataclasses import dataclass

from tltool.runs.duration import readable_duration

_SURE_AFTER = 0.5  # seconds of counting before a speed is reported


@dataclass
class PhaseSpeed:
    """Counts the units of one phase.

    Attributes:
        started: when the phase started, in seconds of a monotonic clock.
    """

    started: float
    _done: int = 0
    _total: int = 0
    _unit: str = ""
    _counted: int = 0
    _first: float | None = None
    _first_counted: int = 0
    _epoch: int = 0
    _epochs: int = 0
    _epochs_seen: int = 0
    _epoch_seconds: float = 0.0

    def count(self, done: int, total: int, unit: str, now: float) -> None:
        """Count ``done`` of ``total`` units; a smaller number than before starts a new pass."""
        self._counted += done - self._done if done >= self._done else done
        self._done, self._total, self._unit = done, total, unit
        if self._first is None:
            self._first, self._first_counted = now, self._counted

    def epoch_ended(self, epoch: int, epochs: int, now: float) -> None:
        """Count epoch ``epoch`` of at most ``epochs`` as finished."""
        self._epoch, self._epochs = epoch, epochs
        self._epochs_seen += 1  # a resumed phase begins after the first epoch
        self._epoch_seconds = (now - self.started) / self._epochs_seen
        self._done = 0

    def summary(self, now: float) -> str:
        """Return progress, speed and ETA, such as ``96/244 images, 12.1/s, 12 s left``."""
        if self._unit == "steps":
            return self._describe_epochs()
        parts = [f"{self._done:,}/{self._total:,} {self._unit}"]
        speed = self._speed(now)
        if speed:
            left = (self._total - self._done) / speed
            parts += [f"{_figure(speed)}/s", f"{readable_duration(left)} left"]
        return ", ".join(parts)

    def _describe_epochs(self) -> str:
        """Return the epoch and the ETA; early stopping may end the phase sooner."""
        if not self._epochs:
            return f"step {self._done}/{self._total}"
        left = (self._epochs - self._epoch) * self._epoch_seconds
        return f"epoch {self._epoch + 1}/{self._epochs}, at most {readable_duration(left)} left"

    def rate(self, now: float) -> str:
        """Return the speed over the whole phase, or "" where too little was counted."""
        seconds = now - self.started
        if not self._counted or self._unit in ("steps", "") or seconds < _SURE_AFTER:
            return ""
        return f"{_figure(self._counted / seconds)} {self._unit}/s"

    def _speed(self, now: float) -> float:
        """Return units per second since the first ones, which take longer."""
        if self._first is None or now - self._first < _SURE_AFTER:
            return 0.0
        return (self._counted - self._first_counted) / (now - self._first)


def _figure(value: float) -> str:
    return f"{value:,.1f}" if value < 100 else f"{value:,.0f}"
