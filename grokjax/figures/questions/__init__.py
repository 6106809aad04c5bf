"""The open questions: of each what its sweep is asked, the picture, and the answer in words.

Every module has `data(results, **options)`, `table(data)` (the numbers drawn), `figure(data)` and `answer(data)`: plain
sentences with intervals over seeds. `sweeps/questions/NAME.yaml` is the sweep, `scripts/questions/NAME.py` draws it.
"""
