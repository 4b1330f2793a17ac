"""The shelf of metrics: each looks at evidence and answers with scores."""

from bowerbird.base.shelf import Shelf
from bowerbird.evaluation.metrics.bits_per_byte import BITS_PER_BYTE
from bowerbird.evaluation.metrics.bits_per_note import BITS_PER_NOTE
from bowerbird.evaluation.metrics.class_histogram import CLASS_HISTOGRAM
from bowerbird.evaluation.metrics.density_coverage import DENSITY_COVERAGE
from bowerbird.evaluation.metrics.distinct import DISTINCT
from bowerbird.evaluation.metrics.fid import FID
from bowerbird.evaluation.metrics.kid import KID
from bowerbird.evaluation.metrics.melody_distributions import MELODY_DISTRIBUTIONS
from bowerbird.evaluation.metrics.melody_novelty import MELODY_NOVELTY
from bowerbird.evaluation.metrics.melody_repetition import MELODY_REPETITION
from bowerbird.evaluation.metrics.memorisation import MEMORISATION
from bowerbird.evaluation.metrics.metric import Metric
from bowerbird.evaluation.metrics.novelty import NOVELTY
from bowerbird.evaluation.metrics.precision_recall import PRECISION_RECALL
from bowerbird.evaluation.metrics.repetition import REPETITION
from bowerbird.evaluation.metrics.valid_share import VALID_SHARE

METRICS: Shelf[Metric] = Shelf(
    "metric",
    bits_per_byte=BITS_PER_BYTE,
    novelty=NOVELTY,
    distinct=DISTINCT,
    repetition=REPETITION,
    bits_per_note=BITS_PER_NOTE,
    valid_share=VALID_SHARE,
    melody_novelty=MELODY_NOVELTY,
    melody_repetition=MELODY_REPETITION,
    melody_distributions=MELODY_DISTRIBUTIONS,
    fid=FID,
    kid=KID,
    precision_recall=PRECISION_RECALL,
    density_coverage=DENSITY_COVERAGE,
    class_histogram=CLASS_HISTOGRAM,
    memorisation=MEMORISATION,
)
