"""The default policy: how likely an expert's layer is to choose it again, learned from the run itself.

    uses ─► averages over 2, 4, … 256 visits ─┐
    router's probabilities ─► two averages ───┴─► weights, by least squares ─► likelihood
    likelihood / visits until it can be used ─► worth

Which averages predict the next choice differs from model to model, and from text to text: some repeat within a
sentence, others only over hundreds of tokens. So no constant decides: every visit shows how well each average
predicted, and the weights follow. They start equal, which makes the weight of a use fade with one over its age.
"""

from __future__ import annotations

import numpy as np

from hypura_worker.streaming.replacement.policy import Floats, Ids, Policy, Shape

_USE_DECAYS: Floats = np.array([1 - 2.0**-power for power in range(1, 9)], np.float32)
_ROUTER_DECAYS: Floats = np.array([7 / 8, 63 / 64], np.float32)
_DECAYS: Floats = np.concatenate((_USE_DECAYS, _ROUTER_DECAYS)).astype(np.float32)
_USES = len(_USE_DECAYS)
_PRIOR_EXPERTS = 80_000.0
"""The equal weights count as much as this many observed experts, some 13 tokens of a large model.
From 8,000 to 4,000,000 the replayed hit rates stay within half a percent."""
_LEAST = np.float32(1e-4)
_LESSONS = 16
"""How many of a prompt's tokens, the last ones, are learned from: each costs as much as a decoded one."""


class Learned(Policy):
    """Evicts the expert that is least likely to be used soon; see the module's docstring."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        base = shape.per_token / shape.experts
        features = len(_DECAYS)
        self._averages = np.full((shape.layers, features, shape.experts), base, np.float32)
        self._likelihood = np.full((shape.layers, shape.experts), base, np.float32)
        self._visited = np.zeros(shape.layers, bool)
        self._prior = np.eye(features) * _PRIOR_EXPERTS * base**2
        self._equal = np.where(np.arange(features) < _USES, 1 / _USES, 0.0)
        self._weights: Floats = self._equal.astype(np.float32)
        self._seen = np.zeros((features, features))
        self._answers = np.zeros(features)

    def visit(self, layer: int, experts: Ids, probabilities: Floats | None = None) -> None:
        chosen = np.zeros((len(experts), self.shape.experts), np.float32)
        chosen[np.arange(len(experts))[:, np.newaxis], experts] = 1
        near = chosen if probabilities is None else self._nearness(probabilities)
        averages = self._averages[layer]
        early = max(0, len(experts) - _LESSONS)
        self._fade(averages, chosen[:early], near[:early])
        for token in range(early, len(experts)):
            if self._visited[layer]:
                self._seen += averages @ averages.T
                self._answers += averages @ chosen[token]
            self._visited[layer] = True
            self._fade(averages, chosen[token : token + 1], near[token : token + 1])
        if layer == self.shape.layers - 1:
            self._learn()
        np.maximum(self._weights @ averages, _LEAST, out=self._likelihood[layer])

    def worth(self, layer: int) -> Floats:
        # Held until its layer comes, and then once around: uses per visit of a slot's time.
        worth: Floats = self._likelihood / (self.distances(layer) + self.shape.layers)
        return worth

    def likelihood(self) -> Floats:
        """[layers, experts]: how likely each layer's next token is to choose the expert, at least 0.0001."""
        return self._likelihood

    def _fade(self, averages: Floats, chosen: Floats, near: Floats) -> None:
        """Take tokens [tokens, experts] into the averages: a token's evidence fades with each that follows it."""
        tokens = len(chosen)
        following = np.arange(tokens - 1, -1, -1, dtype=np.float32)
        shares = (1 - _DECAYS[:, np.newaxis]) * _DECAYS[:, np.newaxis] ** following
        averages *= (_DECAYS**tokens)[:, np.newaxis]
        averages[:_USES] += shares[:_USES] @ chosen
        averages[_USES:] += shares[_USES:] @ near

    def _learn(self) -> None:
        """Ridge regression of what was chosen on the averages before, towards equal weights."""
        solved = np.linalg.solve(self._seen + self._prior, self._answers + self._prior @ self._equal)
        if np.isfinite(solved).all():
            self._weights = np.asarray(solved, np.float32)

    def _nearness(self, probabilities: Floats) -> Floats:
        """[tokens, experts]: how near each came to being chosen, 1/2 for the last one that was, at most 1."""
        place = self.shape.experts - self.shape.per_token
        least = np.partition(probabilities, place, axis=1)[:, place : place + 1]
        ratio = np.divide(probabilities, np.maximum(least, 1e-9), dtype=np.float32)
        near: Floats = ratio / (1 + ratio)
        return near
