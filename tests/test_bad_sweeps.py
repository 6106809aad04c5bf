"""Bad sweep files are refused with every mistake at once, each with its place, key and what to do.

The corpus is in bad_sweeps/*.txt: files between empty lines, each followed by the mistakes that it must give, one a
line, after `!! `. A mistake is `line:col: key: ` and the beginning of its message; `...` stands for any text. A tab is
written as an arrow.
"""

import re
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file
from typer.testing import CliRunner

from grokjax.cli import app
from grokjax.sweep.expand import expand, load_sweep
from grokjax.sweep.load import SweepError, parse_sweep
from grokjax.sweep.settings import parse_overrides

FOLDER = Path(__file__).parent / "bad_sweeps"


def corpus():
    for path in sorted(FOLDER.glob("*.txt")):
        for number, block in enumerate(path.read_text(encoding="utf-8").strip("\n").split("\n\n"), 1):
            lines = block.replace("→", "\t").split("\n")
            text = "\n".join(line for line in lines if not line.startswith("!! "))
            expected = [line[3:] for line in lines if line.startswith("!! ")]
            yield pytest.param(text + "\n", expected, id=f"{path.stem}-{number}: {lines[0][:40]}")


def refuse(path, settings=None):
    """The mistakes of a bad file as lines, without its name."""
    with pytest.raises(SweepError) as caught:
        load_sweep(path, settings)
    return [str(mistake).removeprefix(f"{path}:").replace(f"{path.parent}/", "") for mistake in caught.value.mistakes]


def says(message, expected):
    """Whether a message is the expected one: parts in order, the first at the beginning."""
    pattern = ".*".join(re.escape(part.strip()) for part in expected.split("..."))
    return re.match(pattern, message) is not None


@pytest.mark.parametrize(("text", "expected"), list(corpus()))
def test_a_bad_file_is_refused_with_each_mistake_at_its_place(text, expected, tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text(text, encoding="utf-8")
    messages = refuse(path)
    assert len(messages) == len(expected), messages
    for wanted in expected:
        assert any(says(message, wanted) for message in messages), (wanted, messages)


def test_the_corpus_is_as_large_as_it_was():
    assert len(list(corpus())) > 270


BYTES = {
    b"": "1:1: the file is empty",
    b"\n\n# nothing\n": "1:1: the file is empty",
    b"---\n...\n": "1:1: the file is empty",
    b"base: {seed: 1}\nname: \xff\n": "2:7: is not UTF-8 text: byte 0xff; save the file as UTF-8",
    "name: x\n".encode("utf-16"): "1:1: is not UTF-8 text",
    b"name: x\nbase: \0\n": "2:7: a character that YAML does not allow",
    b"base: {seed: " + b"9" * 5000 + b"}": "1:8: seed: wrong type: expected a whole number, got '999",
    b"base: {optimizer: {lr: 0x" + b"f" * 6000 + b"}}": "1:20: optimizer.lr: must be finite",
    b"parameters: {seed: {min: 0, max: 1" + b"0" * 400 + b"}}": "1:29: seed: max must be a finite number",
    b"[" * 3000: "1:1: not valid YAML: too deeply nested",
    b"base: " + b"{a: " * 60 + b"1" + b"}" * 60: "...too large or too deeply nested",
    b"a: &a [1,1,1,1,1,1,1,1,1]\n"
    + b"".join(b"%c: &%c [%s]\n" % (c, c, b",".join([b"*%c" % (c - 1)] * 9)) for c in range(98, 107)): (
        "...too large or too deeply nested"
    ),
    b"base: {init: {from_file: 'a" + b"b" * 5000 + b"'}}": "1:15: init.from_file: ... cannot be read: File name too",
    b'base: {init: {from_file: "a\\0b"}}': "1:15: init.from_file: ... cannot be read: embedded null byte",
    b"# " + b"x" * 5_000_000: "...is too large for a sweep file",
}


@pytest.mark.parametrize(("raw", "expected"), BYTES.items(), ids=[f"bytes-{n}" for n in range(len(BYTES))])
def test_a_hostile_file_is_refused_without_a_traceback(raw, expected, tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_bytes(raw)
    messages = refuse(path)
    assert any(says(message, expected) for message in messages), [message[:200] for message in messages]


def test_a_missing_file_is_named_with_a_file_that_is_nearly_called_so(tmp_path):
    (tmp_path / "quickstart.yaml").write_text("name: x\n")
    assert refuse(tmp_path / "quikstart.yaml") == [" no such file (did you mean quickstart.yaml?)"]
    assert refuse(tmp_path / "nowhere" / "x.yaml") == [" no such file"]


def test_a_directory_is_no_sweep_file(tmp_path):
    assert refuse(tmp_path)[0].endswith("is a directory, not a sweep file")


def weights(path, **change):
    shapes = {"W.0": (10, 4), "b.0": (4,), "W.1": (4, 5), "b.1": (5,)} | change
    save_file({name: np.zeros(shape, np.float32) for name, shape in shapes.items() if shape}, path)


SMALL = "base: {task: {p: 5}, model: {name: mlp, widths: [4]}, init: {from_file: start.safetensors}}\n"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"b.1": None}, "lacks b.1"),
        ({"W_E": (3, 3)}, "has W_E, which this model has not"),
        ({"W.1": (5, 4)}, "has W.1 of shape [5, 4], this model needs [4, 5]"),
    ],
)
def test_weights_that_do_not_fit_the_model_are_refused(tmp_path, change, expected):
    path = tmp_path / "bad.yaml"
    path.write_text(SMALL)
    weights(tmp_path / "start.safetensors")
    assert len(load_sweep(path).runs) == 1
    weights(tmp_path / "start.safetensors", **change)
    assert refuse(path) == [f"1:62: init.from_file: start.safetensors does not fit: {expected}"]


def test_weights_that_are_damaged_are_refused(tmp_path):
    path, start = tmp_path / "bad.yaml", tmp_path / "start.safetensors"
    path.write_text(SMALL)
    weights(start)
    raw = start.read_bytes()
    for damaged in (raw[:-8], raw[:20], b"", b"\xff" * 100):
        start.write_bytes(damaged)
        assert "is not a safetensors file, or a damaged one" in refuse(path)[0]
    save_file({"W.0": np.zeros((10, 4), np.int32)}, start)
    assert "weights are F16, F32 or F64, but W.0 is I32" in refuse(path)[0]


SETTINGS = {
    "seed": "seed: write key=value, for instance train.steps=2000",
    "=5": "=5: write key=value",
    "sed=4": "sed: unknown key (did you mean seed?)",
    "lr=x": "optimizer.lr: wrong type: expected a number, got 'x' (text)",
    "name=x": "name: is no key of a run: change it in the file",
    "learning_rate=1": "learning_rate: unknown key (did you mean optimizer.lr?)",
    "n_head=2": "n_head: unknown key (did you mean model.heads?)",
    "optimizer.name=adam,sgdd": "optimizer.name: must be one of adamw, adam, sgd",
    "seed=0,,1": "seed: a value is missing between commas: write 0,1,2 or 0..2",
    "seed=0,x": "seed: wrong type: expected a whole number, got 'x' (text)",
    "seed=3..1": "seed: an empty range: 3 is above 1",
    "seed=0..": "seed: '0..' is no range: one is of whole numbers, as 0..7",
    "optimizer.lr=0.1..0.5": "optimizer.lr: '0.1..0.5' is no range: one is of whole numbers",
    "seed=0..9999999": "seed: a range of more than 1,000,000 values",
    "seed=1,1": "seed: the value 1 stands twice",
    "seed=[]": "seed: an empty list: it has no values, so the sweep would have no runs",
    "optimizer.momentum=0,0.9": "optimizer.momentum: unknown key: no run's optimizer has momentum",
    "log.every=10,20": "log.every: an axis without effect: all 2 values give the same runs: log does not",
    "base.seed=4": "base: unknown key: keys are written without `base.`",
    "run_cap=4": "run_cap: is no key of a run: change it in the file",
    "seed=": "seed: wrong type: expected a whole number, got null",
    "seed=x": "seed: wrong type: expected a whole number, got 'x' (text)",
    "seed=-1": "seed: out of range: must be at least 0, got -1",
    "seed=[1": "seed: not valid YAML: ",
    "seed=!!python/name:x ''": "seed: a tag (!!python/name:x) has no meaning here",
    "seed=*a": "seed: not valid YAML: found undefined alias",
    "optimizer=sgd": "optimizer: expected a mapping, got 'sgd' (text)",
    "optimizer.lr.x=1": "optimizer.lr.x: unknown key: optimizer.lr is a single value",
    "optimizer.lr_by_matrix.W_X=1": "optimizer.lr_by_matrix.W_X: this model has no matrix 'W_X'",
    "init.from_file=no.safetensors": "init.from_file: no such file: ",
    "init.from_run.step=5": "init.from_run.step: no run starts from another: init.from_run needs results",
    "log.snapshot_steps=5": "log.snapshot_steps: must be null or log:N with N a whole number from 1 to 10000, got 5",
}


@pytest.mark.parametrize(("setting", "expected"), SETTINGS.items())
def test_a_bad_setting_is_refused_with_its_key(setting, expected, tmp_path):
    (tmp_path / "good.yaml").write_text("parameters: {seed: {min: 0, max: 3}}\n")
    with pytest.raises(SweepError) as caught:
        load_sweep(tmp_path / "good.yaml", parse_overrides([setting]))
    assert [str(mistake).startswith(f"--set: {expected}") for mistake in caught.value.mistakes] == [True], caught.value


def test_a_setting_given_twice_is_refused():
    with pytest.raises(SweepError, match="--set: seed: given twice"):
        parse_overrides(["seed=1", "seed=2"])


def test_mistakes_of_settings_and_of_the_file_are_told_together(tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text("base: {train: {steps: 0}}\nbsae: {}\n")
    messages = refuse(path, {"seed": -1, 5: 3})
    assert [message.split(":")[0] for message in messages].count("--set") == 2
    assert len(messages) == 4


def test_run_exits_with_2_names_every_mistake_and_writes_nothing(tmp_path):
    path, out = tmp_path / "bad.yaml", tmp_path / "out"
    path.write_text("base:\n  optimizer: {lr: fast}\n  seeds: 1\n")
    result = CliRunner().invoke(app, ["run", str(path), "--out", str(out)])
    assert result.exit_code == 2
    assert f"{path}:2:15: optimizer.lr: wrong type" in result.output
    assert f"{path}:3:3: seeds: unknown key (did you mean seed?)" in result.output
    assert "Traceback" not in result.output
    assert not out.exists()


GOOD = (
    """\
name: grid
base:
  task: {p: 7, train_fraction: 0.5, split: {method: numpy, seed: null}}
  model: {name: transformer, d_model: 8, heads: 2, d_head: null, d_mlp: 16}
  optimizer: {name: adamw, lr: 1e-3, lr_by_matrix: {W_E: 0.5}}
log: {every: 10, probes: []}
parameters:
  seed: {min: 0, max: 2}
  optimizer.weight_decay: {values: [0.3, 1.0]}
zip:
  - optimizer.b1: [0.9, 0.8]
    optimizer.b2: [0.98, 0.99]
""",
    """\
base: &shared
  optimizer: {name: sgd, momentum: 0.5}
  model: {name: mlp, widths: [8, 8]}
  task: {p: 7}
method: random
run_cap: 3
random_seed: 3
parameters:
  optimizer:
    parameters:
      lr: {distribution: log_uniform_values, min: 1e-4, max: 1e-1}
  init.scale: {distribution: q_uniform, min: 1, max: 3, q: 0.5}
  optimizer.weight_decay: {distribution: normal, mu: 3, sigma: 0.1}
arms:
  a: {base: {optimizer: {momentum: 0.9}}}
  b: {base: {<<: *shared}}
""",
    """\
base: {init: {from_run: {results: stored, select: {outcome: generalized, seed: [1, 2]}, optimizer: reset}}}
log: {snapshot_every: null, snapshot_steps: log:20}
parameters:
  init.from_run.step: {values: [100, final, before slingshot:1]}
arms:
  a: {parameters: {init.from_run: {values: [null, {run: 0123456789ab}]}}}
  b: {base: {init: {from_run: null}}}
""",
)
WORDS = ("null", "true", "1e400", "-1", ".nan", "[]", "{}", "0x" + "f" * 5000, "yes", "&a", "*shared", "<<", "!!set",
         "!foo", "---", "2001-01-01", "values", "min", "base", "optimizer", "optimizer.lr", "arms", "? ", "- ", "|",
         "\t", "\0", "'", '"', "#", ": ", "%", "é", "\u2028", ", ", "1" * 30)  # fmt: skip
PLACE = st.integers(0, 2000)
EDIT = st.one_of(
    st.tuples(st.just("drop line"), PLACE, st.just("")),
    st.tuples(st.just("repeat line"), PLACE, st.just("")),
    st.tuples(st.just("swap lines"), PLACE, st.just("")),
    st.tuples(st.just("insert"), PLACE, st.one_of(st.sampled_from(WORDS), st.characters())),
    st.tuples(st.just("replace"), PLACE, st.one_of(st.sampled_from(WORDS), st.characters())),
    st.tuples(st.just("delete"), PLACE, st.just("")),
    st.tuples(st.just("word"), PLACE, st.sampled_from(WORDS)),
)


def edit(text, how, at, new):
    lines = text.split("\n")
    row, col = at % len(lines), at % max(1, len(text))
    if how == "drop line":
        return "\n".join(lines[:row] + lines[row + 1 :])
    if how == "repeat line":
        return "\n".join(lines[: row + 1] + lines[row:])
    if how == "swap lines":
        return "\n".join(lines[:row] + lines[row + 1 : row + 2] + lines[row : row + 1] + lines[row + 2 :])
    if how == "word":
        words = list(re.finditer(r"[\w.-]+", text))
        if not words:
            return new
        found = words[at % len(words)]
        return text[: found.start()] + new + text[found.end() :]
    return text[:col] + new + text[col + (how != "insert") :]


def outcome(read):
    """What `read()` returns, or the mistakes that it was refused with. Anything else it raises is a failure."""
    try:
        return read(), []
    except SweepError as error:
        return None, error.mistakes


@pytest.mark.parametrize("ends_a_line", ["\\n", "\\N", "\\L", "\\P", "\\r"])
def test_a_mistake_is_told_on_one_line_whatever_a_key_is(ends_a_line: str):
    text = f'{{name: x, "a{ends_a_line}b": 1, base: {{"c{ends_a_line}{ends_a_line}d": 2}}}}'
    _, mistakes = outcome(lambda: expand(parse_sweep(text, "x.yaml", FOLDER)))
    assert len(mistakes) == 2
    assert all(len(str(mistake).splitlines()) == 1 for mistake in mistakes)


@settings(max_examples=600, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(GOOD), st.lists(EDIT, min_size=1, max_size=5))
def test_a_mangled_file_is_a_sweep_or_is_refused_at_places_in_it(text, edits):
    for step in edits:
        text = edit(text, *step)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sweep, mistakes = outcome(lambda: expand(parse_sweep(text, "mangled.yaml", FOLDER)))
    assert (sweep is not None and len(sweep.runs) > 0) != bool(mistakes)
    lines = re.split("\r\n|[\n\r\x85\u2028\u2029]", text)
    for mistake in mistakes:
        assert 1 <= mistake.line <= len(lines) + 1
        assert 1 <= mistake.col <= len(text) + 2
        assert "\n" not in str(mistake)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=40))
def test_any_text_as_a_setting_is_a_value_or_is_refused(text):
    values, mistakes = outcome(lambda: parse_overrides([text]))
    assert bool(values) != bool(mistakes)
    assert all(mistake.file == "--set" for mistake in mistakes)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_as_a_file_are_a_sweep_or_are_refused(tmp_path_factory, raw):
    path = tmp_path_factory.getbasetemp() / "bytes.yaml"
    path.write_bytes(raw)
    sweep, mistakes = outcome(lambda: load_sweep(path))
    assert (sweep is None) == bool(mistakes)


def test_published_names_are_told_from_parameters_that_are_missing(tmp_path):
    save_file({"embed.W_E": np.zeros((8, 4), np.float32)}, tmp_path / "published.safetensors")
    path = tmp_path / "sweep.yaml"
    path.write_text("base: {task: {p: 7}, init: {from_file: published.safetensors}}")
    (message,) = refuse(path)
    assert "has names of TransformerLens" in message
    assert "grokjax convert" in message
