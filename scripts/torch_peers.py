"""How such networks are trained in PyTorch: two contestants for a benchmark, with the same signature.

- `eager`: one module and one optimizer a lane, trained one lane after another.
- `stacked`: all lanes at once, their parameters stacked and the gradient taken under `torch.func.vmap`.

Both take starting weights {name: [lanes, ...]} (names and shapes of `grokjax.sweep.shapes`), tokens [lanes, n, 3] and
labels [lanes, n], and return `advance(steps)`, which trains every lane by that many more full-batch steps, waits until
the device is done and returns the loss of lane 0 before its last step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch
import torch.nn.functional as F
from grokjax.sweep.shapes import N_CTX
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, stack_module_state, vmap

from grokjax.spec.run import RunSpec
from grokjax.sweep import spec as keys

Weights = dict[str, Tensor]
Advance = Callable[[int], float]

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "tanh": torch.tanh,
    "square": torch.square,
    "identity": lambda x: x,
}


def eager(spec: RunSpec, starts: dict[str, np.ndarray], tokens: np.ndarray, labels: np.ndarray) -> Advance:
    """One module and one `torch.optim.AdamW` a lane, in a Python loop."""
    models, data = prepare(spec, starts, tokens, labels)
    optimizers = [adamw(spec, model.parameters()) for model in models]
    schedules = [warm_up(spec, optimizer) for optimizer in optimizers]

    def train(lane: int, steps: int) -> Tensor:
        model, (inputs, answers), optimizer, schedule = models[lane], data[lane], optimizers[lane], schedules[lane]
        loss = torch.tensor(torch.nan)
        for _ in range(steps):
            loss = cross_entropy(model(inputs), answers)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        return loss.detach()

    def advance(steps: int) -> float:
        losses = [train(lane, steps) for lane in range(len(models))]
        return finished(losses[0])

    return advance


def stacked(spec: RunSpec, starts: dict[str, np.ndarray], tokens: np.ndarray, labels: np.ndarray) -> Advance:
    """All lanes in one vmapped gradient and one `torch.optim.AdamW` over the stacked parameters."""
    models, data = prepare(spec, starts, tokens, labels)
    inputs, answers = (torch.stack(part) for part in zip(*data, strict=True))
    params, _ = stack_module_state(models)
    optimizer = adamw(spec, params.values())
    schedule = warm_up(spec, optimizer)

    def loss_of(params: Weights, inputs: Tensor, answers: Tensor) -> Tensor:
        return cross_entropy(functional_call(models[0], params, (inputs,)), answers)

    gradient = vmap(grad_and_value(loss_of))

    @torch.no_grad()  # the gradient is grad_and_value's; a second graph through it would only cost
    def advance(steps: int) -> float:
        losses = torch.tensor([torch.nan])
        for _ in range(steps):
            gradients, losses = gradient(params, inputs, answers)
            for name, param in params.items():
                param.grad = gradients[name]
            optimizer.step()
            schedule.step()
        return finished(losses[0])

    return advance


def prepare(
    spec: RunSpec, starts: dict[str, np.ndarray], tokens: np.ndarray, labels: np.ndarray
) -> tuple[list[nn.Module], list[tuple[Tensor, Tensor]]]:
    """Each lane's module and its (inputs, answers), on the device."""
    refuse_what_is_missing(spec)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = getattr(torch, spec.numerics.params)
    models, data = [], []
    for lane in range(len(tokens)):
        start = {name: torch.tensor(stack[lane], dtype=dtype) for name, stack in starts.items()}
        inputs = torch.tensor(tokens[lane], dtype=torch.long, device=device)
        if isinstance(spec.model, keys.Transformer):
            models.append(Transformer(spec.model, start).to(device))
        else:
            models.append(MLP(spec.model, start).to(device))
            inputs = F.one_hot(inputs[:, :2], spec.task.p).flatten(1).to(dtype)
        data.append((inputs, torch.tensor(labels[lane], dtype=torch.long, device=device)))
    return models, data


def refuse_what_is_missing(spec: RunSpec) -> None:
    model, optimizer = spec.model, spec.optimizer
    missing = {
        "layernorm": isinstance(model, keys.Transformer) and model.layernorm != "none",
        "embedded input": isinstance(model, keys.MLP) and model.input != "one_hot",
        "optimizers but adamw": optimizer.name != "adamw",
        "clipping": optimizer.clip_norm is not None,
        "factors by matrix": bool(optimizer.lr_by_matrix or optimizer.weight_decay_by_matrix),
        "losses but cross_entropy": spec.loss.name != "cross_entropy",
        "constraints": spec.constraint.name != "none",
        "mini-batches": spec.train.batch is not None,
    }
    if found := [name for name, is_used in missing.items() if is_used]:
        raise ValueError(f"not in the PyTorch peers: {', '.join(found)}")


def adamw(spec: RunSpec, params: Iterable[Tensor]) -> torch.optim.AdamW:
    o = spec.optimizer
    assert isinstance(o, keys.AdamW)
    return torch.optim.AdamW(params, lr=o.lr, betas=(o.b1, o.b2), eps=o.eps, weight_decay=o.weight_decay)


def warm_up(spec: RunSpec, optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LambdaLR:
    steps = spec.optimizer.warmup_steps
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(step / steps, 1) if steps else 1)


def cross_entropy(logits: Tensor, answers: Tensor) -> Tensor:
    """Through a float64 log_softmax, as in Nanda et al. 2023."""
    log_probs = F.log_softmax(logits.double(), dim=-1)
    return -log_probs.gather(-1, answers[:, None]).mean()


def finished(loss: Tensor) -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return loss.item()


class Transformer(nn.Module):
    """Every position through every layer; logits at the last position."""

    def __init__(self, model: keys.Transformer, start: Weights) -> None:
        super().__init__()
        self.W_E, self.W_pos, self.W_U = (nn.Parameter(start[name]) for name in ("W_E", "W_pos", "W_U"))
        self.blocks = nn.ModuleList([Block(model, start, layer) for layer in range(model.layers)])
        self.logit_scale = model.logit_scale

    def forward(self, tokens: Tensor) -> Tensor:
        x = F.embedding(tokens, self.W_E) + self.W_pos
        for block in self.blocks:
            x = block(x)
        return (x @ self.W_U)[:, -1] * self.logit_scale


class Block(nn.Module):
    """Causal attention, then (where d_mlp > 0) an MLP."""

    def __init__(self, model: keys.Transformer, start: Weights, layer: int) -> None:
        super().__init__()
        attention, mlp = ("W_Q", "W_K", "W_V", "W_O"), ("W_in", "b_in", "W_out", "b_out")
        self.W_Q, self.W_K, self.W_V, self.W_O = (nn.Parameter(start[f"{name}.{layer}"]) for name in attention)
        if model.d_mlp:
            self.W_in, self.b_in, self.W_out, self.b_out = (nn.Parameter(start[f"{name}.{layer}"]) for name in mlp)
        self.register_buffer("hidden", torch.ones(N_CTX, N_CTX, dtype=torch.bool).triu(1))
        self.d_mlp, self.activation = model.d_mlp, ACTIVATIONS[model.activation]

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (torch.einsum("nid,hde->nhie", x, W) for W in (self.W_Q, self.W_K, self.W_V))
        scores = torch.einsum("nhie,nhje->nhij", q, k) / q.shape[-1] ** 0.5
        weights = scores.masked_fill(self.hidden, -torch.inf).softmax(-1)
        z = torch.einsum("nhij,nhje->nhie", weights, v)
        x = x + torch.einsum("nhie,hed->nid", z, self.W_O)
        if self.d_mlp:
            x = x + self.activation(x @ self.W_in + self.b_in) @ self.W_out + self.b_out
        return x


class MLP(nn.Module):
    """Both operands side by side as one-hot vectors [n, 2p]; the activation between layers."""

    def __init__(self, model: keys.MLP, start: Weights) -> None:
        super().__init__()
        layers = range(len(model.widths) + 1)
        self.W = nn.ParameterList([start[f"W.{layer}"] for layer in layers])
        self.b = nn.ParameterList([start[f"b.{layer}"] for layer in layers] if model.bias else [])
        self.activation, self.logit_scale = ACTIVATIONS[model.activation], model.logit_scale

    def forward(self, x: Tensor) -> Tensor:
        for layer, W in enumerate(self.W):
            x = self.activation(x) if layer else x
            x = F.linear(x, W.T, self.b[layer] if len(self.b) else None)
        return x * self.logit_scale
