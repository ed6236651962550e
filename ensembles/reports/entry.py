"""What a paper's table and figure have in common as they are measured here: what they are, and in which setting."""

from collections.abc import Sequence
from dataclasses import dataclass

FULL = "full"
OWN = "own"  # the paper's scale with overrides of the user's that change what is computed


def apart(scale: str) -> str:
    """What a heading says of a setting that is not the paper's."""
    return f"{'OWN SETTING' if scale == OWN else f'{scale.upper()} SCALE'}, not the paper's setting"


def standing(scale: str, stands: Sequence[str]) -> str:
    """The sentence of what stands for what."""
    return f"{'In this setting' if scale == OWN else f'At {scale} scale'} stand {'; '.join(stands)}."


@dataclass(frozen=True)
class Entry:
    """A table or figure.

    Attributes:
        name: <paper>/<table or figure>.
        title: without its scale.
        scale: full is the paper's setting, and own or <scale>-own one with overrides of the user's.
        stands: what stands for what at another scale.
        paper: its citation.
        cites: the place in the paper.
    """

    name: str
    title: str
    scale: str
    stands: list[str]
    paper: str
    cites: str

    @property
    def is_full(self) -> bool:
        return self.scale == FULL

    @property
    def full_title(self) -> str:
        """With the scale, unless it is the paper's."""
        return self.title if self.is_full else f"{apart(self.scale)}: {self.title}"
