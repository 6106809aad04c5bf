"""How such networks are trained in PyTorch: two contestants for a benchmark, with the same signature.

- `eager`: one module and one optimizer a lane, trained one lane after another.
- `stacked`: all lanes at once, their parameters stacked and the gradient taken under `torch.func.vmap`.

Both take starting weights {name: [lanes, ...]} (names and shapes of `grokjax.spec.shapes`) and the examples of every
lane, and return `advance(steps)`, which trains every lane by that many more steps, waits until the device is done and
returns the loss of lane 0 before its last step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, stack_module_state, vmap

from grokjax.bench.cases import Data
from grokjax.spec import models, optimizers
from grokjax.spec.run import RunSpec

Weights = dict[str, Tensor]
Advance = Callable[[int], float]
LossFunction = Callable[[Tensor, Tensor], Tensor]  # (logits [m, v], answers [m])

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "tanh": torch.tanh,
    "square": torch.square,
    "identity": lambda x: x,
}


def eager(spec: RunSpec, starts: dict[str, np.ndarray], data: Data) -> Advance:
    """One module and one optimizer a lane, in a Python loop."""
    nets, loss_of = modules(spec, starts), loss_function(spec)
    examples = [Examples.on_device(spec, *lane) for lane in lanes_of(data)]
    steppers = [Stepper(spec, net.parameters()) for net in nets]
    done = 0

    def train(lane: int, steps: int) -> Tensor:
        net, own, stepper = nets[lane], examples[lane], steppers[lane]
        loss = torch.tensor(torch.nan)
        for step in range(done, done + steps):
            inputs, answers = own.batch(step)
            loss = loss_of(net(inputs).flatten(0, -2), answers.flatten())
            stepper.optimizer.zero_grad()
            loss.backward()
            stepper.step()
        return loss.detach()

    def advance(steps: int) -> float:
        nonlocal done
        losses = [train(lane, steps) for lane in range(len(nets))]
        done += steps
        return finished(losses[0])

    return advance


def stacked(spec: RunSpec, starts: dict[str, np.ndarray], data: Data) -> Advance:
    """All lanes in one vmapped gradient and one optimizer over the stacked parameters."""
    nets, loss_of = modules(spec, starts), loss_function(spec)
    examples = Examples.on_device(spec, *(data if data.rows is None else end_to_end(data)))
    params, buffers = stack_module_state(nets)
    stepper = Stepper(spec, params.values())
    done = 0

    def loss_of_lane(params: Weights, buffers: Weights, inputs: Tensor, answers: Tensor) -> Tensor:
        logits = functional_call(nets[0], (params, buffers), (inputs,))
        return loss_of(logits.flatten(0, -2), answers.flatten())

    gradient = vmap(grad_and_value(loss_of_lane))

    @torch.no_grad()  # the gradient is grad_and_value's; a second graph through it would only cost
    def advance(steps: int) -> float:
        nonlocal done
        losses = torch.tensor([torch.nan])
        for step in range(done, done + steps):
            gradients, losses = gradient(params, buffers, *examples.batch(step))
            for name, param in params.items():
                param.grad = gradients[name]
            stepper.step()
        done += steps
        return finished(losses[0])

    return advance


# What is trained on


@dataclass(frozen=True)
class Examples:
    inputs: Tensor  # [n, ...]
    answers: Tensor  # [n], or [n, k] where k positions are scored
    rows: Tensor | None  # [batches, ..., size], which go round; None: the full batch

    @staticmethod
    def on_device(spec: RunSpec, inputs: np.ndarray, answers: np.ndarray, rows: np.ndarray | None) -> Examples:
        device = the_device()
        read = torch.tensor(inputs, device=device)
        if isinstance(spec.model, models.MLP) and spec.model.reads(spec.task) == "one_hot":
            operands = read[..., list(spec.task.operands)].long()
            read = F.one_hot(operands, spec.task.operand_values).flatten(-2)
            read = read.to(getattr(torch, spec.numerics.params))
        elif not read.is_floating_point():
            read = read.long()
        order = None if rows is None else torch.tensor(rows, dtype=torch.long, device=device)
        return Examples(read, torch.tensor(answers, dtype=torch.long, device=device), order)

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        if self.rows is None:
            return self.inputs, self.answers
        rows = self.rows[step % len(self.rows)]
        return self.inputs[rows], self.answers[rows]


def lanes_of(data: Data) -> Iterable[Data]:
    for lane in range(len(data.inputs)):
        yield Data(data.inputs[lane], data.answers[lane], None if data.rows is None else data.rows[lane])


def end_to_end(data: Data) -> Data:
    """The examples of all lanes as those of one, and rows [batches, lanes, size] of them."""
    assert data.rows is not None
    lanes, n = data.inputs.shape[:2]
    rows = data.rows.swapaxes(0, 1) + n * np.arange(lanes)[:, None]
    inputs, answers = (part.reshape(lanes * n, *part.shape[2:]) for part in (data.inputs, data.answers))
    return Data(inputs, answers, rows)


# How it is trained


class Stepper:
    """An optimizer and its warm-up."""

    def __init__(self, spec: RunSpec, params: Iterable[Tensor]) -> None:
        o = spec.optimizer
        if isinstance(o, optimizers.SGD):
            self.optimizer = torch.optim.SGD(params, lr=o.lr, momentum=o.momentum, weight_decay=o.weight_decay)
        else:
            assert isinstance(o, optimizers.AdamW)
            betas = (o.b1, o.b2)
            self.optimizer = torch.optim.AdamW(params, lr=o.lr, betas=betas, eps=o.eps, weight_decay=o.weight_decay)
        warm = o.warmup_steps
        factor = lambda step: min(step / warm, 1)  # noqa: E731
        self.warm_up = torch.optim.lr_scheduler.LambdaLR(self.optimizer, factor) if warm else None

    def step(self) -> None:
        self.optimizer.step()
        if self.warm_up:
            self.warm_up.step()


def loss_function(spec: RunSpec) -> LossFunction:
    if spec.loss.name == "hinge":
        return hinge
    return F.cross_entropy if spec.loss.dtype("") == "float32" else cross_entropy


def cross_entropy(logits: Tensor, answers: Tensor) -> Tensor:
    """Through a float64 log_softmax, as in Nanda et al. 2023."""
    log_probs = F.log_softmax(logits.double(), dim=-1)
    return -log_probs.gather(-1, answers[:, None]).mean()


def hinge(logits: Tensor, answers: Tensor) -> Tensor:
    """Of one output, whose sign is the answer."""
    return F.relu(1 - (2 * answers - 1) * logits[:, 0]).mean()


def the_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def finished(loss: Tensor) -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return loss.item()


# The networks


def modules(spec: RunSpec, starts: dict[str, np.ndarray]) -> list[nn.Module]:
    """Each lane's."""
    dtype, device = getattr(torch, spec.numerics.params), the_device()
    module = Transformer if isinstance(spec.model, models.Transformer) else MLP
    lanes = len(next(iter(starts.values())))
    values = [{name: torch.tensor(stack[lane], dtype=dtype) for name, stack in starts.items()} for lane in range(lanes)]
    return [module(spec, start).to(device) for start in values]


def sinusoids(length: int, width: int) -> Tensor:
    """Of Vaswani et al. 2017: sin in even columns, cos in odd ones."""
    angle = torch.arange(length)[:, None] / 10_000 ** (torch.arange(0, width, 2, dtype=torch.float64) / width)
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)[:, :width]


class Transformer(nn.Module):
    """Every position through every layer; logits where they are scored."""

    def __init__(self, spec: RunSpec, start: Weights) -> None:
        super().__init__()
        model, task = spec.model, spec.task
        assert isinstance(model, models.Transformer)
        self.W_E, self.W_U = nn.Parameter(start["W_E"]), nn.Parameter(start["W_U"])
        if model.positions == "learned":
            self.W_pos = nn.Parameter(start["W_pos"])
        else:
            self.register_buffer("W_pos", sinusoids(task.n_ctx, model.d_model).to(self.W_E))
        self.blocks = nn.ModuleList([Block(model, start, layer, task.n_ctx) for layer in range(model.layers)])
        self.first_scored, self.logit_scale = task.scored[0], model.logit_scale

    def forward(self, tokens: Tensor) -> Tensor:
        x = F.embedding(tokens, self.W_E) + self.W_pos
        for block in self.blocks:
            x = block(x)
        return (x @ self.W_U)[:, self.first_scored :] * self.logit_scale


class Block(nn.Module):
    """Causal attention, then an MLP; a layer norm after each where the model has them."""

    def __init__(self, model: models.Transformer, start: Weights, layer: int, n_ctx: int) -> None:
        super().__init__()
        for name, value in start.items():
            if name.endswith(f".{layer}"):
                self.register_parameter(name.removesuffix(f".{layer}"), nn.Parameter(value))
        self.register_buffer("hidden", torch.ones(n_ctx, n_ctx, dtype=torch.bool).triu(1))
        self.has_norm, self.has_bias = model.layernorm == "post", model.bias
        self.activation = ACTIVATIONS[model.activation]

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x + self.attention(x), "ln1")
        return self.norm(x + self.neurons(x), "ln2")

    def attention(self, x: Tensor) -> Tensor:
        q, k, v = (torch.einsum("nid,hde->nhie", x, W) for W in (self.W_Q, self.W_K, self.W_V))
        scores = torch.einsum("nhie,nhje->nhij", q, k) / q.shape[-1] ** 0.5
        weights = scores.masked_fill(self.hidden, -torch.inf).softmax(-1)
        z = torch.einsum("nhij,nhje->nhie", weights, v)
        return torch.einsum("nhie,hed->nid", z, self.W_O)

    def neurons(self, x: Tensor) -> Tensor:
        if self.has_bias:
            return self.activation(x @ self.W_in + self.b_in) @ self.W_out + self.b_out
        return self.activation(x @ self.W_in) @ self.W_out

    def norm(self, x: Tensor, name: str) -> Tensor:
        if not self.has_norm:
            return x
        return F.layer_norm(x, x.shape[-1:], getattr(self, f"{name}_w"), getattr(self, f"{name}_b"))


class MLP(nn.Module):
    """Reads both operands, as one-hot vectors or rows of tables, side by side; or the vectors that the task gives."""

    def __init__(self, spec: RunSpec, start: Weights) -> None:
        super().__init__()
        model = spec.model
        assert isinstance(model, models.MLP)
        layers = range(len(model.widths) + 1)
        self.W = nn.ParameterList([start[f"W.{layer}"] for layer in layers])
        self.b = nn.ParameterList([start[f"b.{layer}"] for layer in layers] if model.bias else [])
        names = model.tables_of(len(spec.task.operands)) if model.has_embedding else []
        self.tables = nn.ParameterList([start[name] for name in names])
        self.activation, self.logit_scale = ACTIVATIONS[model.activation], model.logit_scale

    def forward(self, x: Tensor) -> Tensor:
        if len(self.tables):
            x = torch.cat([F.embedding(x[:, place], W_E) for place, W_E in enumerate(self.tables)], dim=1)
        for layer, W in enumerate(self.W):
            x = self.activation(x) if layer else x
            x = F.linear(x, W.T, self.b[layer] if len(self.b) else None)
        return x * self.logit_scale
