"""The benchmark on chorales counts as papers do: proper probabilities of the past alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bowerbird.models.rnn import RNN, RNNConfig
from jsb import END, FARTHEST, PITCHES, Known, Piece, frame_loss, log_probabilities, padded, told

PIECE = [[50, 45, 40, 30], [50, 44], [], [52, 45, 40, 33]]


def network() -> RNN:
    torch.manual_seed(0)
    made = RNN(RNNConfig(width=16, embedding=16), PITCHES + 1).eval()
    made.embedding = Known(16)  # type: ignore[assignment]
    return made


def test_a_piece_is_its_pitches_from_high_to_low_with_an_end_after_each_frame() -> None:
    piece = Piece(PIECE, 2)
    assert piece.targets.tolist() == [52, 47, 42, 32, END, 52, 46, END, END, 54, 47, 42, 35, END]
    assert piece.known[:, 0].tolist() == [END, *piece.targets[:-1].tolist()]


@torch.no_grad()
def test_probabilities_sum_to_one_and_rule_out_what_cannot_come() -> None:
    piece = Piece(PIECE, 0)
    logs = log_probabilities(network(), padded([piece])[0])[0]
    assert torch.allclose(logs.exp().sum(-1), torch.ones(len(piece.targets)), atol=1e-5)
    assert bool((logs[1, 50:END] == -torch.inf).all())
    assert bool(torch.isfinite(logs[range(len(piece.targets)), piece.targets.tolist()]).all())


@torch.no_grad()
def test_nothing_yet_to_come_is_known() -> None:
    model, end = network(), len(Piece(PIECE[:2], 0).targets)
    one = log_probabilities(model, padded([Piece(PIECE, 0)])[0])[0, : end + 1]
    other = log_probabilities(model, padded([Piece([*PIECE[:2], [60, 59, 31], [40]], 0)])[0])[0, : end + 1]
    assert torch.equal(one, other)
    within = log_probabilities(model, padded([Piece([[50, 45, 20], *PIECE[1:]], 0)])[0])[0, :3]
    assert torch.equal(one[:3], within)


def test_the_loss_is_all_nats_over_all_frames() -> None:
    found = {0: [np.log(np.full(14, 0.5))], 1: [np.log(np.full(14, 0.25))]}
    assert frame_loss(found, [0], [PIECE]) == pytest.approx(14 * np.log(2) / 4)
    assert frame_loss(found, [0, 1], [PIECE]) == pytest.approx(-14 * np.log(0.375) / 4)
    assert frame_loss(found, [0], [PIECE], first=False) == pytest.approx(9 * np.log(2) / 3)


def test_what_is_told_of_a_piece_is_told_of_it_alone() -> None:
    model = network()
    alone, beside = (told(model, pieces, [FARTHEST])[FARTHEST][0] for pieces in ([PIECE], [PIECE, PIECE * 3]))
    assert alone == pytest.approx(beside, abs=1e-5)
