"""Tables of the world: thing categories, stuff categories, colour names and texture names."""

__all__ = ["COLOURS", "STUFF", "TEXTURES", "THINGS", "VOID"]

# Silhouettes, not colours, tell the categories apart; the order fixes the category ids (index + 1 in the files).
THINGS: tuple[str, ...] = (
    "disc",
    "ring",
    "triangle",
    "square",
    "star",
    "cross",
    "heart",
    "crescent",
    "arrow",
    "bolt",
    "gear",
    "key",
    "fish",
    "hourglass",
)

STUFF: tuple[str, ...] = ("sky", "grass", "water", "brick", "sand")

# Value of a stuff map where a thing covers the stuff.
VOID = 255

TEXTURES: tuple[str, ...] = ("plain", "striped", "checked", "dotted", "gradient", "noisy")

# RGB, [0, 255]; each instance jitters its colours a little around these.
COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (216, 48, 44),
    "orange": (240, 138, 36),
    "yellow": (246, 212, 62),
    "green": (62, 160, 74),
    "teal": (36, 160, 158),
    "blue": (48, 98, 206),
    "purple": (130, 70, 178),
    "pink": (238, 128, 172),
    "brown": (130, 84, 50),
    "white": (244, 242, 236),
    "grey": (140, 142, 148),
    "black": (44, 44, 52),
}
