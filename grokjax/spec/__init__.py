"""What one run is, declared once. A user's own families are declared with the same names (`uses: my_setup.py`)."""

from grokjax.spec.constraints import Constraint
from grokjax.spec.fields import Activation, Count, Decay, Natural, NonNegative, Positive, Share
from grokjax.spec.filters import Filter
from grokjax.spec.losses import Loss
from grokjax.spec.models import Model
from grokjax.spec.optimizers import Optimizer
from grokjax.spec.probes import Probe
from grokjax.spec.roles import Hyper
from grokjax.spec.run import RunSpec
from grokjax.spec.schedules import Schedule
from grokjax.spec.tasks import Task

__all__ = [
    "Activation",
    "Constraint",
    "Count",
    "Decay",
    "Filter",
    "Hyper",
    "Loss",
    "Model",
    "Natural",
    "NonNegative",
    "Optimizer",
    "Positive",
    "Probe",
    "RunSpec",
    "Schedule",
    "Share",
    "Task",
]
