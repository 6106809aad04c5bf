"""Every test runs with the shapes and dtypes of jaxtyping checked, on four CPU devices, without this user's cache."""

import os
import shutil
import tempfile

os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4".strip()
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp()  # others' tuning tables and compiled programs must not reach a test

import jaxtyping

ROOMS = ["tasks", "models", "train", "probes", "engine", "analysis"]
jaxtyping.install_import_hook([f"grokjax.{room}" for room in ROOMS], "beartype.beartype")


def pytest_unconfigure():
    shutil.rmtree(os.environ["XDG_CACHE_HOME"], ignore_errors=True)
