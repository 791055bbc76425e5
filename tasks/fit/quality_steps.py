"""Choose the quality of the next attempt: raise it until an encoding passes, then halve the gap to one that failed."""

from __future__ import annotations

BEST_QUALITY = 100


class QualitySteps:
    """The lowest quality that passes, by steps that double and then bisection.

    Raising alone would overshoot: a page that needs 35 and fails at 34 would get 44. A lower first quality would then
    cost more bytes than a higher one.

    Args:
        first: Quality of the first attempt.
        step: First step upwards.
    """

    def __init__(self, first: int, step: int) -> None:
        self.quality, self._step = first, step
        self._failed: int | None = None
        self._passed: int | None = None

    @property
    def has_passed(self) -> bool:
        """Whether some quality has passed."""
        return self._passed is not None

    def restart(self) -> None:
        """Forget which qualities failed, until one has passed: other pixels are encoded from now on."""
        if not self.has_passed:
            self._failed = None

    def after_pass(self) -> bool:
        """Plan a lower quality, after one that passed; return False if none is left to try."""
        self._passed = self.quality
        return self._between()

    def after_failure(self, share: int = 1) -> bool:
        """Plan a higher quality, after one that failed; return False if none is left to try.

        Args:
            share: Divides the step, where a little more is likely to be enough.
        """
        self._failed = self.quality
        if self._passed is not None:
            return self._between()
        if self.quality >= BEST_QUALITY:
            return False
        self.quality = min(BEST_QUALITY, self.quality + max(1, self._step // share))
        self._step *= 2
        return True

    def _between(self) -> bool:
        if self._failed is None or self._passed is None or self._passed - self._failed <= 1:
            return False
        self.quality = (self._failed + self._passed) // 2
        return True
