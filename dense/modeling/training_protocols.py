"""What a trainer asks of models that offer more than losses; a model has a protocol by having its methods."""

from typing import Any, Protocol, runtime_checkable

__all__ = ["FollowsTraining", "RemembersTraining", "ReportsFigures"]


@runtime_checkable
class FollowsTraining(Protocol):
    """A model whose losses change in the course of the training."""

    def begin_step(self, step: int) -> None:
        """The trainer says which optimizer step, from 0, comes next; so a continued run goes on where it was.

        With SOLVER.ACCUMULATE above 1 several forward passes follow.
        """


@runtime_checkable
class RemembersTraining(Protocol):
    """A model whose losses depend on earlier steps by more than its weights; each process remembers something else."""

    def training_state(self) -> dict[Any, Any]:
        """What it remembers: containers, numbers and tensors on the CPU."""

    def load_training_state(self, state: dict[Any, Any]) -> None:
        """Remember that instead. Raises: ValueError if it is nothing that ``training_state`` gives."""


@runtime_checkable
class ReportsFigures(Protocol):
    """A model with figures that are written beside its losses in logged steps, and are no part of the sum that is minimised."""

    def want_figures(self, flag: bool) -> None:
        """Whether the forward passes from now on are those of a logged step.

        Computing figures must change neither losses, weights, buffers nor the random generators: which steps are logged
        depends on where a run is stopped.
        """

    def training_figures(self) -> dict[str, float]:
        """The figures of the last forward pass; read after a logged step only."""
