"""What happens with every answer beside sending it: statistics, log, sample, second model."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tltool.errors import EnvironmentProblem
from tltool.serving.json_values import Arrays
from tltool.serving.kept_sample import MAX_BYTES, KeptSample
from tltool.serving.prediction_log import PredictionLog
from tltool.serving.prometheus import Metrics
from tltool.serving.repository import Repository
from tltool.serving.requests import PredictRequest
from tltool.serving.served_model import IMAGE_INPUT
from tltool.serving.served_version import ServedVersion
from tltool.serving.settings import MEBIBYTE, Settings
from tltool.serving.shadow import Shadow

_log = logging.getLogger("tltool.serving")


@dataclass(frozen=True)
class AfterAnswers:
    """Handles answers; none of it changes them, waits or fails.

    Attributes:
        log: of predictions; None for none.
        sample: of images to keep; None for none.
        shadow: the second model; None for none.
    """

    log: PredictionLog | None = None
    sample: KeptSample | None = None
    shadow: Shadow | None = None

    def handle(
        self, served: ServedVersion, request: PredictRequest, outputs: Arrays, seconds: float
    ) -> None:
        """Handle the outputs of one request.

        Args:
            served: the version that has answered.
            request: to it.
            outputs: of the model.
            seconds: that it took.
        """
        with _logged("the statistics"):
            served.statistics.add(outputs)
        if self.log is not None:
            with _logged("the log of predictions"):
                self.log.add(served.model, outputs)
        if self.sample is not None and IMAGE_INPUT in request.inputs:
            with _logged("the sample of images"):
                self.sample.keep(request.inputs[IMAGE_INPUT])
        if self.shadow is not None and not served.is_candidate:
            with _logged("the second model"):
                self.shadow.offer(served, request, outputs, seconds)

    async def close(self) -> None:
        """Finish what is kept; what the second model still runs is dropped."""
        if self.shadow is not None:
            await self.shadow.close()
        if self.sample is not None:
            await asyncio.to_thread(self.sample.close)


@contextmanager
def _logged(observer: str) -> Iterator[None]:
    """Log an unexpected error, so that no answer fails through what observes it."""
    try:
        yield
    except Exception:
        _log.exception("%s cannot take an answer", observer)


def observe_answers(
    repository: Repository,
    settings: Settings,
    metrics: Metrics,
    sample: tuple[Path, float] | None,
    log: Callable[[str], None],
) -> AfterAnswers:
    """Return what happens with answers, and report what is kept.

    Args:
        repository: of the model, with its second model.
        settings: of the server, with the file of the log.
        metrics: of the server.
        sample: folder and share of the images to keep; None to keep none.
        log: called with a sentence.

    Raises:
        UsageError, EnvironmentProblem: the log or the folder cannot be written.
    """
    rows = None if settings.log is None else PredictionLog(settings.log, log)
    kept = None
    if sample is not None:
        folder, share = sample
        try:
            kept = KeptSample(folder, share, log)
        except OSError as error:
            raise EnvironmentProblem(
                f"'{folder}' cannot be written: {error.strerror}",
                hint="give another folder with --sample-folder",
            ) from None
        log(f"{share:.2%} of the images are kept in {folder}, at most {MAX_BYTES // MEBIBYTE} MB")
    shadow = None
    if repository.candidate is not None:
        shadow = Shadow(repository.candidate, metrics.served)
        canary = settings.canary
        answers = f"answers {canary:.1%} of the requests" if canary else "never answers"
        log(f"the second model {answers}")
    return AfterAnswers(rows, kept, shadow)
