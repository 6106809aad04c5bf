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

import jaxtyping

ROOMS = ["tasks", "models", "train", "probes", "engine", "analysis"]
jaxtyping.install_import_hook([f"grokjax.{room}" for room in ROOMS], "beartype.beartype")


def pytest_unconfigure():
    if "PYTEST_XDIST_WORKER" not in os.environ:
        shutil.rmtree(os.environ["XDG_CACHE_HOME"], ignore_errors=True)
