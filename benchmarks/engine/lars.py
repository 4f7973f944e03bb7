"""A step of LARS on the parameters of ResNet-50, all tensors of a group together, beside one tensor after the other."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.case import Case
from dense.config import load_config
from dense.engine.optimizers import build_optimizer

__all__ = ["cases"]

_RATE, _MOMENTUM, _DECAY, _TRUST, _EPS = 1e-3, 0.9, 1e-5, 1e-3, 1e-8


def cases() -> list[Case]:
    """On the CPU, and on a GPU where there is one: there the many small kernels of the loop are what takes the time."""
    return [_case("cpu"), *([_case("cuda")] if torch.cuda.is_available() else [])]


def _case(device: str) -> Case:
    options = ["SOLVER.OPTIMIZER", "LARS", "SOLVER.BASE_LR", _RATE, "SOLVER.WEIGHT_DECAY", _DECAY, "SOLVER.MOMENTUM", _MOMENTUM]
    model, other = _resnet(device), _resnet(device)
    optimizer = build_optimizer(load_config(None, options), model)
    velocities = [torch.zeros_like(p) for p in other.parameters()]
    wait = torch.cuda.synchronize if device != "cpu" else lambda: None

    def step(update: Callable[[], None], updated: nn.Module) -> Callable[[], object]:
        def run() -> object:
            update()
            wait()
            return [p.detach() for p in updated.parameters()]

        return run

    def one_by_one() -> None:
        for weight, velocity in zip(other.parameters(), velocities, strict=True):
            _update(weight, velocity)

    numbers = sum(p.numel() for p in model.parameters())
    size = f"R50, {numbers / 1e6:.1f} M parameters in {len(velocities)} tensors"
    return Case(
        f"LARS step, {size}{'' if device == 'cpu' else ' ' + device}",
        step(lambda: _step(optimizer), model),
        {"tensor by tensor": step(one_by_one, other)},
        _agree,
        5 * 4 * numbers,  # weight, gradient and velocity read, weight and velocity written
        10 * numbers,
        device,
    )


def _step(optimizer: torch.optim.Optimizer) -> None:
    optimizer.step()


@torch.no_grad()
def _update(weight: Tensor, velocity: Tensor) -> None:
    """The formula as it is written down, without waiting for the device."""
    gradient = weight.grad
    if weight.dim() != 1:
        gradient = gradient + _DECAY * weight
        length, slope = weight.norm(), gradient.norm()
        gradient = gradient * torch.where((length > 0) & (slope > 0), _TRUST * length / (slope + _EPS), 1.0)
    velocity.mul_(_MOMENTUM).add_(gradient)
    weight.sub_(_RATE * velocity)


def _resnet(device: str) -> nn.Module:
    """Weights and gradients of ResNet-50."""
    from torchvision.models import resnet50

    torch.manual_seed(0)
    model = resnet50().to(device)
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    return model


def _agree(ours: object, theirs: object) -> None:
    for one, other in zip(ours, theirs, strict=True):
        worst = float((one - other).abs().max() / other.abs().max().clamp(min=1e-3))
        assert worst < 1e-6, f"ours and the peer's differ by {worst:.1e} of the largest value"
