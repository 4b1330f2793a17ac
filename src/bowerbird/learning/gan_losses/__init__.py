"""The shelf of losses of generator and discriminator: one a file."""

from bowerbird.base.shelf import Shelf
from bowerbird.learning.gan_losses.hinge import HINGE
from bowerbird.learning.gan_losses.loss import GANLoss
from bowerbird.learning.gan_losses.non_saturating import NON_SATURATING
from bowerbird.learning.gan_losses.relativistic import RELATIVISTIC
from bowerbird.learning.gan_losses.wasserstein import WASSERSTEIN

GAN_LOSSES: Shelf[GANLoss] = Shelf(
    "loss", relativistic=RELATIVISTIC, non_saturating=NON_SATURATING, hinge=HINGE, wasserstein=WASSERSTEIN
)
