"""Every test runs with the shapes and dtypes of jaxtyping checked, on four CPU devices, without this user's cache."""

import os
import tempfile

os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4".strip()
os.environ["JAX_PLATFORMS"] = "cpu"
CACHE = tempfile.TemporaryDirectory()  # tuning tables and compiled programs of others must not reach a test
os.environ["XDG_CACHE_HOME"] = CACHE.name

import jaxtyping

ROOMS = ["tasks", "models", "train", "probes", "engine", "analysis"]
jaxtyping.install_import_hook([f"grokjax.{room}" for room in ROOMS], "beartype.beartype")
