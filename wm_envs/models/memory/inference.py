"""One step of an LSTM with a linear head, several times as fast as PyTorch's modules."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from wm_envs.hardware import compute_dtype
from wm_envs.models.state import Recurrent

LOW_PRECISION_FROM = 8  # batch size from which bfloat16 products are faster than float32 ones

Packed = tuple[Tensor, Tensor, Tensor, Tensor]


class PackedStep:
    """One step on packed weights, in buffers that are reused between steps.

    The result equals that of the LSTM and the head on a sequence of one, up to rounding. It is faster because it has
    one matrix product for all gates, no autograd, and no new memory, whose page faults cost more than the arithmetic.
    Several steps may use the same `weights`, also in several threads.
    """

    def __init__(self, weights: PackedWeights | None = None) -> None:
        self.weights = weights or PackedWeights()
        self._buffers: dict[tuple[int, torch.dtype], Packed] = {}

    @torch.no_grad()
    def __call__(
        self, lstm: nn.LSTM, head: nn.Linear, parts: list[Tensor], recurrent: Recurrent
    ) -> tuple[Tensor, Recurrent]:
        """The head's outputs (B, O), a buffer that the next call overwrites, and the new (h, c), (B, H) each.

        `parts` (B, n) side by side are the inputs (B, I).
        """
        hidden, cell = recurrent
        batch, device = len(parts[0]), head.weight.device
        dtype = compute_dtype(device) if batch >= LOW_PRECISION_FROM else torch.float32
        weight, bias, head_weight, head_bias = self.weights(lstm, head, dtype)
        inputs, products, gates, outputs = self._workspace(lstm, head, batch, dtype)
        at = 0
        for part in (*parts, hidden):
            inputs[:, at : at + part.shape[1]] = part
            at += part.shape[1]
        torch.addmm(bias, inputs, weight, out=products)
        if dtype != torch.float32:
            gates.copy_(products)
        enter, forget, leave, candidate = gates.sigmoid_().split(lstm.hidden_size, dim=1)  # i, f, o, g: (B, H) each
        cell = cell * forget
        cell.addcmul_(enter, candidate, value=2).sub_(enter)  # + i * tanh(g), as tanh(x) = 2 sigmoid(2x) - 1
        hidden = (cell * 2).sigmoid_().mul_(2).sub_(1).mul_(leave)  # o * tanh(c)
        torch.addmm(head_bias, hidden.to(dtype), head_weight, out=outputs)
        return outputs, (hidden, cell)

    def _workspace(self, lstm: nn.LSTM, head: nn.Linear, batch: int, dtype: torch.dtype) -> Packed:
        """Buffers for inputs, products, gates and outputs of a batch; only those of the last batch size are kept."""
        if (batch, dtype) not in self._buffers:
            widths = lstm.input_size + lstm.hidden_size, 4 * lstm.hidden_size, head.out_features
            inputs, products, outputs = (torch.empty(batch, n, dtype=dtype, device=head.weight.device) for n in widths)
            self._buffers = {(batch, dtype): (inputs, products, products.float(), outputs)}
        return self._buffers[batch, dtype]


class PackedWeights:
    """The weights of an LSTM and a head, packed for each number type when it is first asked for."""

    def __init__(self) -> None:
        self._packed: tuple[tuple[int, ...], dict[torch.dtype, Packed]] = (), {}

    def __call__(self, lstm: nn.LSTM, head: nn.Linear, dtype: torch.dtype) -> Packed:
        """The gates' weights (I + H, 4H) in the order i, f, o, g, their bias (4H,), and the head's weights and bias.

        They are packed again when the weights have changed. The weights of g are doubled for
        tanh(x) = 2 sigmoid(2x) - 1, because PyTorch's sigmoid is several times faster than its tanh.
        """
        weight_ih, weight_hh, bias_ih, bias_hh = lstm.all_weights[0]
        parameters = weight_ih, weight_hh, bias_ih, bias_hh, head.weight, head.bias
        version = tuple(number for value in parameters for number in (value.data_ptr(), value._version))
        packed = self._packed
        if packed[0] != version:
            packed = self._packed = version, {}
        if dtype not in packed[1]:
            weight, bias = torch.cat([weight_ih, weight_hh], dim=1), bias_ih + bias_hh
            enter, forget, candidate, leave = range(4)  # PyTorch's order is i, f, g, o
            order = [enter, forget, leave, candidate]
            weight = weight.unflatten(0, (4, -1))[order].flatten(0, 1)
            bias = bias.unflatten(0, (4, -1))[order].flatten()
            for part in (weight, bias):
                part[3 * lstm.hidden_size :] *= 2
            parts = weight.t(), bias, head.weight.t(), head.bias
            packed[1][dtype] = tuple(part.detach().to(dtype).contiguous() for part in parts)  # type: ignore[assignment]
        return packed[1][dtype]
