"""What a paper's table and figure have in common as they are measured here: what they are, and at which scale."""

from dataclasses import dataclass

FULL = "full"


@dataclass(frozen=True)
class Entry:
    """A table or figure.

    Attributes:
        name: <paper>/<table or figure>.
        title: without its scale.
        scale: full is the paper's setting.
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
        scale = "" if self.is_full else f"{self.scale.upper()} SCALE, not the paper's setting: "
        return f"{scale}{self.title}"
