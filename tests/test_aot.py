"""Programs for accelerators that are not here: how they are read, and, where their compilers are, what they must be."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from grokjax.aot.build import read_step
from grokjax.aot.hlo import Cost, cost_of, loop_body, parse, reached, size_of
from grokjax.aot.targets import TARGETS, compile_device
from grokjax.cli import app
from grokjax.launch import load
from grokjax.plan.plan import make_plan

ROOT = Path(__file__).parents[1]
TEXT = """\
HloModule jit__segment, is_scheduled=true

%fused_add (a: f32[8,4], b: f32[8,4]) -> f32[8,4] {
  %a = f32[8,4]{1,0} parameter(0)
  %b = f32[8,4]{1,0} parameter(1)
  ROOT %add.1 = f32[8,4]{1,0} add(%a, %b)
}

%gemm (l: f32[2,8,3], r: f32[2,3,4]) -> f32[2,8,4] {
  %l = f32[2,8,3]{2,1,0} parameter(0)
  %r = f32[2,3,4]{2,1,0} parameter(1)
  ROOT %dot.1 = f32[2,8,4]{2,1,0} dot(%l, %r), lhs_batch_dims={0}, lhs_contracting_dims={2}, rhs_batch_dims={0}
}

%taken (t: (f32[100])) -> (f32[100]) {
  %t = (f32[100]{0}) parameter(0)
  %t.0 = f32[100]{0} get-tuple-element(%t), index=0
  %copy.9 = f32[100]{0} copy(%t.0)
  ROOT %out = (f32[100]{0}) tuple(%copy.9)
}

%left (t: (f32[100])) -> (f32[100]) {
  ROOT %t = (f32[100]{0}) parameter(0)
}

%again (i: (s32[], f32[8])) -> (s32[], f32[8]) {
  %i = (s32[], f32[8]{0}) parameter(0)
  %v = f32[8]{0} get-tuple-element(%i), index=1
  %scatter.1 = f32[8]{0} scatter(%v, %v, %v), to_apply=%fused_add
  ROOT %o = (s32[], f32[8]{0}) tuple(%v, %scatter.1)
}

%body (c: (s32[], f32[8,4], f32[2,8,3], f32[2,3,4], f32[100])) -> (s32[], f32[8,4], f32[2,8,3], f32[2,3,4], f32[100]) {
  %c = (s32[], f32[8,4]{1,0}, f32[2,8,3]{2,1,0}, f32[2,3,4]{2,1,0}, f32[100]{0}) parameter(0)
  %x = f32[8,4]{1,0} get-tuple-element(%c), index=1
  %p = f32[2,8,3]{2,1,0} get-tuple-element(%c), index=2
  %q = f32[2,3,4]{2,1,0} get-tuple-element(%c), index=3
  %near = f32[2,3,4]{2,1,0:T(8,128)S(1)} copy(%q)
  %moved = (f32[8,4]{1,0:T(8,128)S(1)}, f32[8,4]{1,0:T(8,128)}, u32[]) copy-start(%x)
  %came = f32[8,4]{1,0:T(8,128)S(1)} copy-done(%moved)
  %part = ((f32[8,4]{1,0:T(8,128)}), f32[2,4]{1,0:T(8,128)S(1)}, s32[]{:S(2)}) slice-start(%x)
  %parted = f32[2,4]{1,0:T(8,128)S(1)} slice-done(%part)
  %add = f32[8,4]{1,0} fusion(%x, %x), kind=kLoop, calls=%fused_add, metadata={op_name="jit(_segment)/while/body/add"}
  %mm = f32[2,8,4]{2,1,0} fusion(%p, %q), kind=kCustom, calls=%gemm
  %host = f32[] custom-call(%x), custom_call_target="xla_ffi_python_cpu_callback"
  %w = (s32[], f32[8]{0}) while(%c), condition=%left, body=%again, backend_config={"known_trip_count":{"n":"5"}}
  %u = (s32[], f32[8]{0}) while(%c), condition=%left, body=%again
  ROOT %cond.1 = (f32[100]{0}) conditional(%x, %c, %c), branch_computations={%taken, %left}, metadata={op_name="record"}
}

ENTRY %main (a: f32[8,4]) -> f32[8,4] {
  %a = f32[8,4]{1,0} parameter(0)
  ROOT %loop = (s32[], f32[8,4]{1,0}) while(%a), condition=%left, body=%body
}
"""


def test_bytes_of_a_type_are_those_in_memory():
    assert size_of("f32[8,4]{1,0}") == 128
    assert size_of("pred[3]{0}") == 3
    assert size_of("s32[]") == 4
    assert size_of("(bf16[4]{0}, f64[2]{0})") == 24
    assert size_of("f32[8,4]{1,0:T(8,128)S(1)}") == 0  # on the chip
    assert size_of("token[]") == 0


def test_a_step_s_kernels_bytes_and_matmuls_are_counted_each_at_its_rate():
    computations = parse(TEXT)
    assert loop_body(computations) == "body"
    copy, add, mm, host = 96.0, 3 * 128.0, 4 * (48 + 24 + 64), 128.0 + 4  # what is copied to the chip is read only
    scatters = (5 + 1) * 4 * 8 * 4.0
    slice_of_it = 2 * 4 * 4.0
    always = copy + 128 + slice_of_it + add + mm + host + scatters
    found = cost_of(computations, "body", {"record": 0.1})
    assert found.bytes == pytest.approx(always + 0.1 * 800)
    assert found.kernels == pytest.approx(1 + 1 + 1 + 1 + 6 + 0.1)
    assert found.flops == 2 * 2 * 8 * 4 * 3
    assert cost_of(computations, "body", {}).kernels == pytest.approx(11)


OF_GPU = """\
%body (x: f32[4,3,8], W: f32[4,3,5]) -> f32[4,2,8] {
  %x = f32[4,3,8]{2,1,0} parameter(0)
  %W = f32[4,3,5]{2,1,0} parameter(1)
  ROOT %k = f32[4,2,8]{2,1,0} custom-call(%x, %W), custom_call_target="__gpu$xla.gpu.triton", backend_config={grid_x = 4 : i32, ir = "ML\\EFR(\\00{", serialized_metadata = "{\\22flops\\22: \\22160\\22, \\22numbers\\22: \\2216\\22}"}
}
"""  # noqa: E501
OF_TPU = """\
%body (x: f32[4,3,8], W: f32[4,3,5]) -> (f32[4,2,8], f32[4,5,1]) {
  %x = f32[4,3,8]{2,1,0:T(8,128)S(1)} parameter(0)
  %W = f32[4,3,5]{2,1,0:T(8,128)} parameter(1)
  ROOT %k = (f32[4,2,8]{2,1,0:T(8,128)}, f32[4,5,1]{2,1,0:T(8,128)}) custom-call(%x, %W), custom_call_target="tpu_custom_call", backend_config={"custom_call_config":{"body":"TUzv","cost_estimate":{"flops":"640","transcendentals":"0"}}}
}
"""  # noqa: E501


def test_kernels_that_are_not_xla_s_say_their_flops():
    x, W, y, of_neurons = (4 * 4 * numbers for numbers in (3 * 8, 3 * 5, 2 * 8, 5))
    assert cost_of(parse(OF_GPU), "body", {}) == Cost(1, x + W + y, 4 * 160)  # four lanes of what one takes
    assert cost_of(parse(OF_TPU), "body", {}) == Cost(1, W + y + of_neurons, 640)


def test_what_a_step_should_not_do_is_found():
    (bucket, *_) = make_plan(load(ROOT / "sweeps" / "quickstart.yaml"), TARGETS["h100"].device("x")).buckets
    cost, callbacks, scatters, loops = read_step(TEXT, bucket)
    assert isinstance(cost, Cost)
    assert (callbacks, scatters, loops) == (1, 2, 1)
    assert len(list(reached(parse(TEXT), "taken"))) == 4


def test_an_accelerator_that_is_none_and_one_without_a_compiler_are_told():
    said = CliRunner().invoke(app, ["compile", str(ROOT / "sweeps" / "quickstart.yaml"), "--for", "h10"])
    assert said.exit_code == 2
    assert "did you mean h100?" in said.stderr
    if not _has("libtpu"):
        with pytest.raises(ValueError, match=r"pip install 'grokjax\[aot-tpu\]'"):
            compile_device(TARGETS["v5e"])


def _has(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # not even what it would be a part of
        return False


def test_a_peak_is_that_of_the_units_and_their_passes():
    h100, v5e = TARGETS["h100"], TARGETS["v5e"]
    assert h100.flops("highest") == 67e12
    assert h100.flops("default") == h100.flops("tf32") == 3 * h100.flops("tf32_x3") == 494.7e12
    assert [passes * h100.flops(f"bf16_x{passes}") for passes in (3, 6, 9)] == pytest.approx([989.4e12] * 3)
    assert v5e.flops("highest") == v5e.flops("bf16_x6") == v5e.flops("default") / 6 == 197e12 / 6
    assert v5e.flops("high") == v5e.flops("bf16_x3")


needs_cuda = pytest.mark.skipif(
    not _has("jax_plugins.xla_cuda13"),
    reason="no compiler for CUDA: pip install 'grokjax[aot-cuda]', in an environment of its own",
)
needs_tpu = pytest.mark.skipif(
    not _has("libtpu"), reason="no compiler for TPUs: pip install 'grokjax[aot-tpu]', in an environment of its own"
)


def compiled(sweep: str, target: str, lanes: int, kernel: str) -> dict[str, Any]:
    said = in_a_process_of_its_own("tests/compiled_elsewhere.py", sweep, target, str(lanes), kernel)
    assert said.returncode == 0, said.stderr[-3000:]
    return json.loads(said.stdout.splitlines()[-1])


def in_a_process_of_its_own(*words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "XLA_FLAGS": ""}
    return subprocess.run(
        [sys.executable, *words], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


# kernels, MB and GFLOP a run-step that were read when the test was written: what grows must be looked at
@pytest.mark.parametrize(
    ("sweep", "target", "kernel", "lanes", "kernels", "megabytes", "gigaflops"),
    [
        pytest.param("sweeps/nanda.yaml", "h100", "xla", 64, 80, 171.0, 4.1, marks=needs_cuda),
        pytest.param("sweeps/nanda.yaml", "h100", "fused", 64, 74, 89.0, 4.6, marks=needs_cuda),
        pytest.param("sweeps/nanda.yaml", "a100", "xla", 64, 81, 171.0, 4.1, marks=needs_cuda),
        pytest.param("sweeps/quickstart.yaml", "v5e", "xla", 64, 218, 0.72, 0.056, marks=needs_tpu),
        pytest.param("sweeps/quickstart.yaml", "v5e", "fused", 64, 228, 0.90, 0.063, marks=needs_tpu),
        pytest.param("sweeps/quickstart.yaml", "v6e", "xla", 64, 209, 0.93, 0.056, marks=needs_tpu),
    ],
)
def test_a_program_for_an_accelerator_is_as_lean_as_it_was(
    sweep: str, target: str, kernel: str, lanes: int, kernels: int, megabytes: float, gigaflops: float
):
    found = compiled(sweep, target, lanes, kernel)
    assert (found["callbacks"], found["scatters"], found["loops"]) == (0, 0, 0)
    assert found["memory"]["donated"] >= found["lanes"]
    assert found["memory"]["total"] <= found["planned"]
    step = found["run_step"]
    assert step["kernels"] <= kernels
    assert step["bytes"] / 1e6 <= megabytes
    assert 0.9 * gigaflops <= step["flops"] / 1e9 <= gigaflops


@pytest.mark.parametrize(
    ("target", "matmul", "peak"),
    [
        pytest.param("h100", "bf16_x6", 165, marks=needs_cuda),
        pytest.param("a100", "tf32_x3", 52, marks=needs_cuda),
        pytest.param("v5e", "bf16_x3", 66, marks=needs_tpu),
    ],
)
def test_a_dot_algorithm_is_compiled_where_there_is_one(target: str, matmul: str, peak: int):
    said = compile_small(target, matmul)
    assert said.returncode == 0, said.stderr[-3000:]
    assert f"{peak} TFLOP/s of {matmul})" in said.stdout


@needs_tpu
@pytest.mark.parametrize("matmul", ["bf16_x9", "tf32_x3", "tf32"])
def test_a_dot_algorithm_that_a_device_has_not_is_refused_in_words(matmul: str):
    said = compile_small("v5e", matmul)
    assert said.returncode == 2
    assert f"numerics.matmul: TPU v5 lite has no {matmul} (" in said.stderr
    assert "; it has highest, high, default, bf16_x6, bf16_x3" in said.stderr


def compile_small(target: str, matmul: str) -> subprocess.CompletedProcess[str]:
    settings = ["--set", f"numerics.matmul={matmul}", "--arm", "grok"]
    return in_a_process_of_its_own(
        "-m", "grokjax.cli", "compile", "sweeps/quickstart.yaml", "--for", target, "--lanes", "4", *settings
    )
