"""A stored network: its logits and activations on any tokens, and the same network for TransformerLens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from grokjax.models.network import network, recorded_forward, unrecorded
from grokjax.probes.circuits import circuits_of
from grokjax.results.own import own_of
from grokjax.results.rebuild import SpecMaker
from grokjax.spec.families import with_families
from grokjax.spec.matmuls import of_stored
from grokjax.spec.run import RunSpec
from grokjax.train.step import precision

if TYPE_CHECKING:
    from grokjax.models.textbook import Record
    from grokjax.results.manifest import Manifest
    from grokjax.results.read import Results


@dataclass(frozen=True)
class StoredNetwork:
    """A run's network at a step. It computes in the run's precision, and in full where its products were
    a dot algorithm's."""

    run_id: str
    step: int
    spec: RunSpec
    params: dict[str, np.ndarray]

    def logits(self, tokens: Any) -> np.ndarray:
        """Logits as they were trained with, `model.logit_scale` included.

        tokens: integers [n, L] of the task's length and vocabulary (for modular arithmetic [n, 3]: a, b, p), or, where
        the task's inputs are vectors, numbers [n, d]. Returns
        [n, L, d_vocab_out] for a transformer, [n, classes] for an MLP (which reads the operands only), and for a
        network of a user's [n, classes], or [n, scored, classes] where several positions are scored. Raises ValueError
        for tokens that are none.
        """
        return self._forward(tokens, unrecorded)

    def cache(self, tokens: Any) -> dict[str, np.ndarray]:
        """Activations by TransformerLens's hook names, in its shapes (README.md has them). Raises ValueError for tokens
        that are none, and for a network of a user's, whose activations have no names."""
        if network(self.spec).recorded_forward is None:
            raise ValueError(f"model {self.spec.model.name} of run {self.run_id} does not tell its activations")
        activations: dict[str, Any] = {}
        self._forward(tokens, activations.__setitem__)
        return {name: np.asarray(value) for name, value in activations.items()}

    def circuits(self, layer: int = 0) -> dict[str, np.ndarray]:
        """What a layer's heads do over the vocabulary, where they read the embedding directly: `EVOU` [heads, d_vocab,
        d_vocab_out], what each says of a token that it attends to, and `EQKE` [heads, d_vocab, d_vocab], how much the
        query of one token (row) asks for another. Positions, biases and layer norms are left out. Raises ValueError
        for a network without such a layer."""
        layers = self.spec.model.depth if self.spec.model.attention_heads else 0
        if not 0 <= layer < layers:
            known = f"its layers are 0 to {layers - 1}" if layers else "its network has no attention"
            raise ValueError(f"run {self.run_id} has no circuits of layer {layer}: {known}")
        with precision(self.spec, of_stored(self.spec.numerics.matmul)):
            found = circuits_of(self.params, layer)
        return {"EVOU": np.asarray(found.evou), "EQKE": np.asarray(found.eqke)}

    def to_transformer_lens(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """(config, state dict) for `HookedTransformer(HookedTransformerConfig(**config)).load_state_dict`; of
        TransformerLens 4 see README.md. Raises ValueError for a network that it cannot express."""
        convert = network(self.spec).to_transformer_lens
        if convert is None:
            raise ValueError(
                f"TransformerLens has transformers only, and run {self.run_id} is of model {self.spec.model.name}"
            )
        return convert(self.params, self.spec.model, self.spec.task.n_ctx, self._scale)

    @property
    def _scale(self) -> np.ndarray:
        return np.asarray(self.spec.model.logit_scale, self.spec.numerics.params)

    def _forward(self, tokens: Any, record: Record) -> np.ndarray:
        inputs = _checked(np.asarray(tokens), self.spec)
        with precision(self.spec, of_stored(self.spec.numerics.matmul)):
            return np.asarray(recorded_forward(self.spec, self.params, inputs, record)) * self._scale


def stored_network(results: Results, run_id: str, step: int | None) -> StoredNetwork:
    """Raises ValueError where no parameters of that step are kept, SweepError where a user's file has changed."""
    params = results.params(run_id, step)
    return StoredNetwork(run_id, results.snapshot(run_id, step).step, _spec_of(results.manifest, run_id), params)


def _spec_of(manifest: Manifest, run_id: str) -> RunSpec:
    """Of a sweep with families of a user's, their file is run, which is said: one may be the network."""
    if manifest.uses is None:
        return manifest.run(run_id).spec
    own = own_of(manifest)
    print(f"runs the code of {own.file}")
    return SpecMaker(with_families(own.families)).spec_of(manifest.every_run[run_id].values)


def _checked(inputs: np.ndarray, spec: RunSpec) -> np.ndarray:
    """Inputs of the task's shape; JAX would take any other token for one that there is. Raises ValueError."""
    length, vocabulary = spec.task.n_ctx, spec.task.d_vocab
    if not length:
        return _checked_vectors(inputs, spec.task.d_input)
    wanted = f"tokens are integers of shape [n, {length}], each from 0 to {vocabulary - 1}"
    if inputs.ndim != 2 or inputs.shape[1] != length or inputs.dtype.kind not in "iu":
        raise ValueError(f"{wanted}; got {inputs.dtype} of shape {list(inputs.shape)}")
    if inputs.size and not (inputs.min() >= 0 and inputs.max() < vocabulary):
        raise ValueError(f"{wanted}; got {inputs.min()} to {inputs.max()}")
    return inputs


def _checked_vectors(inputs: np.ndarray, width: int) -> np.ndarray:
    if inputs.ndim != 2 or inputs.shape[1] != width or inputs.dtype.kind not in "fiu":
        raise ValueError(f"inputs are numbers of shape [n, {width}]; got {inputs.dtype} of shape {list(inputs.shape)}")
    return inputs
