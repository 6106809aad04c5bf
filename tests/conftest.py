"""Every test runs with the shapes and dtypes of jaxtyping checked, on four CPU devices, without this user's cache."""

import os
import shutil
import tempfile

os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4".strip()
os.environ["JAX_PLATFORMS"] = "cpu"
if "PYTEST_XDIST_WORKER" not in os.environ:
    cache = tempfile.mkdtemp()  # others' tuning tables and compiled programs must not reach a test
    os.environ["XDG_CACHE_HOME"] = cache
    os.environ["JAX_COMPILATION_CACHE_DIR"] = f"{cache}/jax"  # what one test compiled, all use
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.05"

import jax
import jaxtyping
import pytest

ROOMS = ["tasks", "models", "train", "probes", "engine", "analysis"]
jaxtyping.install_import_hook([f"grokjax.{room}" for room in ROOMS], "beartype.beartype")

# subjects whose numbers or bits must be those of programs compiled as users compile them
AS_SHIPPED = {
    *("test_numerics", "test_losses", "test_lanes", "test_recycling", "test_durability", "test_faults"),
    *("test_going_back", "test_probes", "test_phenomena", "test_readme"),
}


@pytest.fixture(scope="module", autouse=True)
def _compiled_as_shipped_or_quickly(request: pytest.FixtureRequest):
    """Quickly: without XLA's costly optimizations."""
    quick = request.module.__name__ not in AS_SHIPPED
    if jax.config.read("jax_disable_most_optimizations") != quick:
        jax.config.update("jax_disable_most_optimizations", quick)
        jax.clear_caches()  # what the module before compiled


def pytest_unconfigure():
    if "PYTEST_XDIST_WORKER" not in os.environ:
        shutil.rmtree(os.environ["XDG_CACHE_HOME"], ignore_errors=True)
