"""The settings that the demo model is trained with."""

from dataclasses import dataclass

from tests.demo_model.shape import DEMO, SMOKE, Shape


@dataclass(frozen=True, slots=True)
class Setting:
    """A step sees rows x row_tokens tokens. Shares are of the training's whole time."""

    shape: Shape
    rows: int
    row_tokens: int
    learning_rate: float
    warmup_share: float
    quantised_from_share: float
    minutes: float
    exam_questions: int
    compiled: bool


SETTINGS = {
    "h200": Setting(DEMO, 32, 2048, 3e-3, 0.02, 0.75, 24.0, 300, True),
    "cpu-smoke": Setting(SMOKE, 4, 512, 3e-3, 0.1, 0.5, 1.0, 4, False),
}


def learning_rate_at(setting: Setting, done_share: float) -> float:
    """Linear up during the warm-up, then linear down to nothing, so that stopping by the clock loses nothing."""
    if done_share < setting.warmup_share:
        return setting.learning_rate * max(done_share / setting.warmup_share, 0.01)
    return setting.learning_rate * max(1.0 - (done_share - setting.warmup_share) / (1.0 - setting.warmup_share), 0.0)


def quantisation_at(setting: Setting, done_share: float) -> float:
    """How far weights are moved to their quantised values: nothing at first, then rising to 1 over a tenth."""
    return min(max((done_share - setting.quantised_from_share) / 0.1, 0.0), 1.0)
