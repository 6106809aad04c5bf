"""Which neurons carry a network: the product of the norms of what each reads and writes."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from grokjax.models.network import neuron_weights
from grokjax.probes.core import Metrics
from grokjax.probes.fourier import share
from grokjax.spec.run import RunSpec
from grokjax.train.state import View

TOP = 0.05  # of the neurons


def neurons(spec: RunSpec, view: View) -> Metrics:
    """Of each hidden layer l, with the products |w_in||w_out| of its m neurons:

    neurons/product_mean/l and product_max/l. neurons/effective/l: (sum p)^2 / sum p^2, m where all are equal, 1 where
    one carries everything. neurons/top_share/l: the share of the sum that the largest twentieth has (Merrill et al.
    2023, arXiv 2303.11873: a sparse subnetwork of few neurons takes over).
    """
    metrics: Metrics = {}
    for layer, (reads, writes) in neuron_weights(spec, view.params).items():
        product = neuron_products(reads, writes)
        top = max(1, round(TOP * product.shape[0]))
        metrics |= {
            f"neurons/product_mean/{layer}": product.mean(),
            f"neurons/product_max/{layer}": product.max(),
            f"neurons/effective/{layer}": share(jnp.square(product.sum()), jnp.square(product).sum()),
            f"neurons/top_share/{layer}": share(jnp.sort(product)[-top:].sum(), product.sum()),
        }
    return metrics


def neuron_products(reads: Float[Array, "d m"], writes: Float[Array, "m v"]) -> Float[Array, " m"]:
    """|w_in||w_out| of each neuron."""
    return jnp.linalg.norm(reads, axis=0) * jnp.linalg.norm(writes, axis=1)
