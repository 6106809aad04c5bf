"""How most tests compile: no optimization by LLVM, XLA's older and quicker code generator, one piece of code."""

from typing import Any

import jax

WISHES: dict[str, Any] = {  # a fourth of the time to compile
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
    "xla_cpu_use_fusion_emitters": False,
    "xla_cpu_parallel_codegen_split_count": 1,
}


def _is_known(option: str, value: Any) -> bool:
    """XLA's options come and go."""
    try:
        jax.jit(lambda: 0, compiler_options={option: value})()
    except jax.errors.JaxRuntimeError:
        return False
    return True


QUICK = {option: value for option, value in WISHES.items() if _is_known(option, value)}
