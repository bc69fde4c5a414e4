"""A version of a model that is served, with its queue and the counts of its answers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from urllib.parse import quote

from tltool.serving.batching import Batcher
from tltool.serving.served_model import ServedModel
from tltool.serving.served_statistics import ServedStatistics
from tltool.serving.signatures import Signature

VERSION_HEADER = "Model-Version"


@dataclass(frozen=True)
class ServedVersion:
    """A version of the model, its request queue, and counts of its answers.

    Attributes:
        model: the version.
        batcher: its queue.
        statistics: of its answers.
        is_candidate: whether it is of the second model.
        first: the version of the first model for which it answers; None if it answers for itself.
    """

    model: ServedModel
    batcher: Batcher
    statistics: ServedStatistics
    is_candidate: bool = False
    first: ServedVersion | None = None

    @property
    def signatures(self) -> dict[str, Signature]:
        """The signatures that clients know: those of the first model."""
        return (self.first or self).model.signatures

    def answering(self, name: str) -> ServedVersion:
        """Return the version that answers a request to the signature ``name``.

        The second model predicts for the first; features and heat maps are always of the first.
        """
        if self.first is None or name in self.first.model.predicting_signatures:
            return self
        return self.first

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep every version open that may answer: this one, and the one it answers for.

        Enter it without an await after looking the version up.
        """
        with ExitStack() as stack:
            for version in filter(None, (self, self.first)):
                stack.enter_context(version.batcher.in_use())
            yield

    @property
    def header(self) -> dict[str, str]:
        """The header that says which version has answered; not ASCII is percent-encoded."""
        return {VERSION_HEADER: f"{quote(self.model.name)}/{self.model.version}"}
