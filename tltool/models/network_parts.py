"""A classifier and its parts that run separately: trunk (frozen), tail (trained) and head."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import keras
import numpy as np

from tltool.errors import UsageError
from tltool.models.backbone_registry import Backbone
from tltool.models.head_parts import STANDARDIZE, for_standardized, set_statistics


@dataclass(frozen=True)
class Network:
    """A flat functional classifier that can be cut into parts. All parts share its weights.

    Attributes:
        model: images float32 [B, H, W, 3] in 0…255 to logits float32 [B, C].
        backbone: its registry entry.
        head: kind of the head.
    """

    model: keras.Model
    backbone: Backbone
    head: str

    @property
    def images(self) -> keras.KerasTensor:
        """Symbolic input."""
        return self.model.inputs[0]

    @cached_property
    def pooled(self) -> keras.KerasTensor:
        """Symbolic input of the head: pooled features [B, D].

        With a hidden layer with instance normalisation, which comes before the pooling, it is the
        backbone's feature map [B, h, w, C].
        """
        if self.head == "gap_conv":
            # 1x1 convolution and averaging commute: the head runs on averaged features
            return keras.layers.GlobalAveragePooling2D(name="pooled")(self._features)
        if "head_pool" in {layer.name for layer in self._head_layers}:
            return self.model.get_layer("head_pool").output
        return self._features

    @cached_property
    def pooled_to_logits(self) -> keras.Model:
        """The head alone: pooled features [B, D] to logits [B, C]."""
        if self.head != "gap_conv":
            return keras.Model(self.pooled, self.model.output)
        entry = keras.Input(self.pooled.shape[1:])
        flow = keras.layers.Reshape((1, 1, self.pooled.shape[-1]))(entry)
        for layer in self._head_layers:
            flow = layer(flow)
        return keras.Model(entry, flow)

    @cached_property
    def images_to_pooled(self) -> keras.Model:
        """Images [B, H, W, 3] to pooled features [B, D]."""
        return keras.Model(self.images, self.pooled)

    def cut(self, stage: str) -> keras.KerasTensor:
        """Return the symbolic activation [B, h, w, c] that enters ``stage``.

        Raises:
            UsageError: the backbone has no such stage, or it is the first one.
        """
        before = self.backbone.previous(stage)
        if before is None:
            raise UsageError(
                f"'{stage}' is the first stage of {self.backbone.name}: there is no trunk"
            )
        return self.model.get_layer(before.layer).output

    def trained_from(self, stage: str) -> list[list[keras.Variable]]:
        """Return the variables trained from ``stage`` on, grouped by stage, highest first.

        The first group is the head with the last stage, each further group the stage below.
        """
        names = [known.name for known in self.backbone.stages]
        frozen_below: set[str] = set()
        groups = []
        for name in names[names.index(stage) :]:
            inside = self._names_up_to(name)
            groups.append(self._variables(inside - frozen_below - self._names_before(name)))
            frozen_below = inside
        groups[-1] += self._variables({layer.name for layer in self._head_layers})
        return groups[::-1]

    def head_variables(self) -> list[keras.Variable]:
        """Return the trainable variables of the head."""
        return self._variables({layer.name for layer in self._head_layers})

    def moving_statistics(self) -> list[keras.Variable]:
        """Return moving means and variances of all batch normalisation layers."""
        norms = [x for x in self.model.layers if isinstance(x, keras.layers.BatchNormalization)]
        return [one for norm in norms for one in (norm.moving_mean, norm.moving_variance)]

    def standardize(self, features: Callable[[], np.ndarray]) -> None:
        """Let the head see features of mean 0 and variance 1, where the backbone is pretrained.

        Args:
            features: returns the head's input [N, D] or [N, h, w, D] for training images; called
                where the head wants it.
        """
        if self._standardizes:
            set_statistics(self.model.get_layer(STANDARDIZE), features())

    def set_linear_head(self, kernel: np.ndarray, bias: np.ndarray) -> None:
        """Give a head that is linear in the pooled features the weights of a linear classifier.

        Args:
            kernel: [D, C], of pooled features that are not standardised.
            bias: [C].
        """
        last = self._last_layer
        if self._standardizes:
            kernel, bias = for_standardized(self.model.get_layer(STANDARDIZE), kernel, bias)
        last.kernel.assign(kernel.reshape(last.kernel.shape))
        last.bias.assign(bias)

    def shift_logits(self, shift: np.ndarray) -> None:
        """Add ``shift`` [C] to the logits: to the bias of the last layer."""
        bias = self._last_layer.bias
        bias.assign(keras.ops.convert_to_numpy(bias) + shift)

    def digest(self, *, head: bool = True) -> str:
        """Return a SHA-256 (hex) of all weights, or all but the head's, in the order of layers."""
        excluded = set() if head else {layer.name for layer in self._head_layers}
        digest = hashlib.sha256()
        for layer in self.model.layers:
            for value in () if layer.name in excluded else layer.get_weights():
                if np.issubdtype(value.dtype, np.floating):  # not the states of random generators
                    digest.update(np.ascontiguousarray(value, np.float32).tobytes())
        return digest.hexdigest()

    @property
    def _last_layer(self) -> keras.layers.Layer:
        return self.model.get_layer("head_conv" if self.head == "gap_conv" else "head_logits")

    @property
    def _standardizes(self) -> bool:
        return STANDARDIZE in {layer.name for layer in self._head_layers}

    @property
    def _features(self) -> keras.KerasTensor:
        return self.model.get_layer(self.backbone.stages[-1].layer).output

    @property
    def _head_layers(self) -> list[keras.layers.Layer]:
        inside = self._names_up_to(self.backbone.stages[-1].name)
        return [layer for layer in self.model.layers if layer.name not in inside]

    def _names_up_to(self, stage: str) -> set[str]:
        output = self.model.get_layer(self.backbone.stage(stage).layer).output
        return {layer.name for layer in keras.Model(self.images, output).layers}

    def _names_before(self, stage: str) -> set[str]:
        names = [known.name for known in self.backbone.stages]
        position = names.index(stage)
        return self._names_up_to(names[position - 1]) if position else set()

    def _variables(self, layer_names: set[str]) -> list[keras.Variable]:
        return [
            variable
            for layer in self.model.layers
            if layer.name in layer_names
            for variable in layer.trainable_variables
        ]
