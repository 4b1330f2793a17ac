"""The shelf of metrics: each looks at evidence and answers with scores."""

from bowerbird.base.shelf import Shelf
from bowerbird.evaluation.metrics.bits_per_byte import BITS_PER_BYTE
from bowerbird.evaluation.metrics.distinct import DISTINCT
from bowerbird.evaluation.metrics.metric import Metric
from bowerbird.evaluation.metrics.novelty import NOVELTY
from bowerbird.evaluation.metrics.repetition import REPETITION

METRICS: Shelf[Metric] = Shelf(
    "metric",
    bits_per_byte=BITS_PER_BYTE,
    novelty=NOVELTY,
    distinct=DISTINCT,
    repetition=REPETITION,
)
