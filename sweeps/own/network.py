"""A flax module: an embedding, one hidden layer, logits."""

from typing import Literal

import jax
from flax import nnx

from grokjax.models.from_flax import flax_network, flax_shapes
from grokjax.spec import Count, Model


class Flax(Model):
    name: Literal["flax"] = "flax"
    d_embed: Count = 16
    width: Count = 64
    """Neurons of the hidden layer."""

    def shapes(self, task):
        return flax_shapes(Net, self, task)


class Net(nnx.Module):
    def __init__(self, model, task, rngs):
        self.embed = nnx.Embed(task.d_vocab, model.d_embed, rngs=rngs)
        self.hidden = nnx.Linear(2 * model.d_embed, model.width, rngs=rngs)
        self.out = nnx.Linear(model.width, task.classes, use_bias=False, rngs=rngs)

    def __call__(self, tokens):
        x = self.embed(tokens[:, :2]).reshape(len(tokens), -1)
        return self.out(jax.nn.relu(self.hidden(x)))


MODELS = {"flax": flax_network(Net)}
