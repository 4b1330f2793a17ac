"""The shelf of cells: one recurrence a file."""

from collections.abc import Callable

from bowerbird.base.shelf import Shelf
from bowerbird.models.cells.cell import Cell
from bowerbird.models.cells.gru import GRU
from bowerbird.models.cells.lstm import LSTM
from bowerbird.models.cells.mingru import MinGRU
from bowerbird.models.cells.rnn import Elman

CELLS: Shelf[Callable[[int, int], Cell]] = Shelf("cell", lstm=LSTM, gru=GRU, rnn=Elman, mingru=MinGRU)
"""Each is called with (inputs, width) and gives an nn.Module that is a `Cell`."""
