"""Layers that Keras has no counterpart of: counted n-grams, and a cache of what was read.

Import this file before loading a model that it lies beside. It needs Keras alone, on any of its backends.

B rows, V tokens, K tokens in the longest n-gram, R = K - 1, D width, W tokens that the cache looks back on.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

START = 0
"""The token that begins a document."""
LONGEST = 16
"""Longer matches in the past count as this long."""
HEAVIEST = 16.0
SURPRISE = 60.0
"""Nats above which a token counts as no less likely, so that nothing overflows."""


@keras.saving.register_keras_serializable(package="bowerbird")
class NGrams(keras.layers.Layer):  # type: ignore[misc]
    """What counted n-grams add to the logits: log-probabilities of each order, weighed by gates.

    The counts are Kneser-Ney tables as one tree. A node is a context; each child puts one older token before it.
    Node 0 is the empty context, child i is node i + 1, and the last node stands for contexts never seen. The last
    child and the last entry are none.

    Called with [tokens (B,), tokens read before, the newest first (B, R), outputs of the top layer (B, D)].
    Gives [what to add to the logits (B, V), tokens read by now (B, R)].
    """

    def __init__(
        self,
        order: int,
        vocab_size: int,
        nodes: int,
        entries: int,
        most_children: int,
        most_entries: int,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.order, self.vocab_size = order, vocab_size
        self.nodes, self.entries = nodes, entries
        self.most_children, self.most_entries = most_children, most_entries

    def build(self, input_shape: Any) -> None:
        orders, width = self.order - 1, input_shape[2][-1]
        self.child_first = self._table("child_first", self.nodes + 1, "int32")
        self.child_token = self._table("child_token", self.nodes - 1, "int32")
        self.left = self._table("left", self.nodes, "float32")
        self.entry_first = self._table("entry_first", self.nodes + 1, "int32")
        self.entry_token = self._table("entry_token", self.entries, "int32")
        self.entry_share = self._table("entry_share", self.entries, "float32")
        self.lowest = self._table("lowest", self.vocab_size, "float32")
        self.gate_kernel = self.add_weight(name="gate_kernel", shape=(width, orders))
        self.gate_bias = self.add_weight(name="gate_bias", shape=(orders,), initializer="zeros")
        self.by_known = self.add_weight(name="by_known", shape=(self.order, orders), initializer="zeros")

    def _table(self, name: str, size: int, dtype: str) -> Any:
        return self.add_weight(name=name, shape=(size,), dtype=dtype, initializer="zeros", trainable=False)

    def call(self, inputs: Any) -> Any:
        tokens, before, x = inputs
        newest = ops.expand_dims(ops.cast(tokens, before.dtype), 1)
        recent = ops.concatenate([newest, before[:, :-1]], axis=1)
        nodes, matched = self._contexts(ops.cast(recent, "int32"))
        left = ops.take(self.left, nodes, axis=0)
        shares = self._shares(nodes)
        gates = ops.matmul(x, self.gate_kernel) + self.gate_bias + ops.take(self.by_known, matched, axis=0)
        found = ops.expand_dims(self.lowest, 0)
        total = 0.0
        for index in range(self.order - 1):
            found = found * left[:, index : index + 1] + shares[:, index]
            total = total + gates[:, index : index + 1] * ops.log(found)
        return [total, recent]

    def _contexts(self, recent: Any) -> Any:
        """The node of the context of each order from 2 up (B, R), and how many of these were seen (B,)."""
        none = self.nodes - 2
        steps = ops.expand_dims(ops.arange(self.most_children, dtype="int32"), 0)
        node = ops.zeros_like(recent[:, 0])
        inside = ops.ones_like(recent[:, 0], dtype="bool")
        matched = ops.ones_like(recent[:, 0])
        nodes = []
        for depth in range(self.order - 1):
            token = ops.where(inside, recent[:, depth], START)
            inside = ops.logical_and(inside, token != START)
            place = ops.expand_dims(ops.take(self.child_first, node, axis=0), 1) + steps
            end = ops.expand_dims(ops.take(self.child_first, node + 1, axis=0), 1)
            place = ops.where(place < end, place, none)
            same = ops.take(self.child_token, place, axis=0) == ops.expand_dims(token, 1)
            node = ops.min(ops.where(same, place, none), axis=1) + 1
            if depth:  # contexts of one token always count as seen
                matched = matched + ops.cast(node != self.nodes - 1, "int32")
            nodes.append(node)
        return ops.stack(nodes, axis=1), matched

    def _shares(self, nodes: Any) -> Any:
        """What each context gives to each token itself (B, R, V), by halving the range that it may stand in."""
        none = self.entries - 1
        wanted = ops.reshape(ops.arange(self.vocab_size, dtype="int32"), (1, 1, -1))
        zeros = ops.zeros_like(wanted)
        low = ops.expand_dims(ops.take(self.entry_first, nodes, axis=0), 2) + zeros
        high = end = ops.expand_dims(ops.take(self.entry_first, nodes + 1, axis=0), 2) + zeros
        for _ in range(int(self.most_entries).bit_length()):
            middle = (low + high) // 2
            less = ops.take(self.entry_token, ops.minimum(middle, none), axis=0) < wanted
            open_ = low < high
            low = ops.where(ops.logical_and(open_, less), middle + 1, low)
            high = ops.where(ops.logical_and(open_, ops.logical_not(less)), middle, high)
        place = ops.where(low < end, low, none)
        same = ops.take(self.entry_token, place, axis=0) == wanted
        return ops.take(self.entry_share, ops.where(same, place, none), axis=0)

    def compute_output_spec(self, inputs: Any) -> Any:
        rows = inputs[0].shape[0]
        sizes = (self.vocab_size, self.order - 1)
        return [keras.KerasTensor((rows, size), dtype="float32") for size in sizes]

    def get_config(self) -> dict[str, Any]:
        names = ("order", "vocab_size", "nodes", "entries", "most_children", "most_entries")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


@keras.saving.register_keras_serializable(package="bowerbird")
class Cache(keras.layers.Layer):  # type: ignore[misc]
    """What the stream has said before gains weight: matches of the newest tokens in its own past.

    The past holds the tokens read last plus one, the newest last, 0 where none was read.

    Called with [logits (B, V), tokens (B,), the past (B, W), outputs of the top layer (B, D)].
    Gives [logits (B, V), the past by now (B, W)].
    """

    def __init__(self, window: int, shortest: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.window, self.shortest = window, shortest

    def build(self, input_shape: Any) -> None:
        lengths = LONGEST - self.shortest + 1
        self.by_length = self.add_weight(name="by_length", shape=(lengths,), initializer="zeros")
        self.gate = self.add_weight(name="gate", shape=(input_shape[3][-1],), initializer="zeros")

    def call(self, inputs: Any) -> Any:
        logits, tokens, before, x = inputs
        newest = ops.expand_dims(ops.cast(tokens, before.dtype) + 1, 1)
        stream = ops.concatenate([before, newest], axis=1)
        length, after = self._lengths(stream), stream[:, 1:]
        # A match ends in the document that is being read: none has begun since.
        begun = ops.cumsum(ops.cast(stream == START + 1, "int32"), axis=1)
        matches = ops.logical_and(length >= self.shortest, begun[:, :-1] == begun[:, -1:])
        by_length = ops.take(self.by_length, ops.maximum(length - self.shortest, 0), axis=0)
        gate = ops.sum(x * self.gate, axis=1, keepdims=True)
        weights = ops.where(matches, ops.exp(by_length + gate), 0.0)
        following = ops.one_hot(
            ops.maximum(ops.cast(after, "int32") - 1, 0), logits.shape[1], dtype="float32"
        )
        gained = ops.squeeze(ops.matmul(ops.expand_dims(weights, 1), following), 1)
        gained = ops.minimum(gained, HEAVIEST)
        likely = ops.logsumexp(logits, axis=1, keepdims=True) - logits
        return [logits + ops.log1p(gained * ops.exp(ops.minimum(likely, SURPRISE))), after]

    def _lengths(self, stream: Any) -> Any:
        """How many tokens are the same, counted back from each place of the past and from the newest: (B, W)."""
        padded = ops.pad(stream, [[0, 0], [LONGEST - 1, 0]])
        same, length = True, 0
        for back in range(LONGEST):
            begin = LONGEST - 1 - back
            there = padded[:, begin : begin + self.window]
            here = padded[:, begin + self.window : begin + self.window + 1]
            same = ops.logical_and(same, ops.logical_and(there == here, there > 0))
            length = length + ops.cast(same, "int32")
        return length

    def compute_output_spec(self, inputs: Any) -> Any:
        logits, _, before, _ = inputs
        return [keras.KerasTensor(part.shape, dtype="float32") for part in (logits, before)]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "window": self.window, "shortest": self.shortest}
