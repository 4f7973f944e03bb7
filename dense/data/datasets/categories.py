"""Category tables of the video instance data sets; the dataset id of a category is its position counted from 1."""

__all__ = ["OVIS", "YTVIS_2019", "YTVIS_2021"]


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


YTVIS_2019 = _names(
    "person giant_panda lizard parrot skateboard sedan ape dog snake monkey hand rabbit duck cat cow fish train horse turtle"
    " bear motorbike giraffe leopard fox deer owl surfboard airplane truck zebra tiger elephant snowboard boat shark mouse frog"
    " eagle earless_seal tennis_racket"
)
"""40 names, YouTube-VIS 2019."""

YTVIS_2021 = _names(
    "airplane bear bird boat car cat cow deer dog duck earless_seal elephant fish flying_disc fox frog giant_panda giraffe"
    " horse leopard lizard monkey motorbike mouse parrot person rabbit shark skateboard snake snowboard squirrel surfboard"
    " tennis_racket tiger train truck turtle whale zebra"
)
"""40 names, YouTube-VIS 2021 and 2022."""

OVIS = _names(
    "Person Bird Cat Dog Horse Sheep Cow Elephant Bear Zebra Giraffe Poultry Giant_panda Lizard Parrot Monkey Rabbit Tiger Fish"
    " Turtle Bicycle Motorcycle Airplane Boat Vehical"
)
"""25 names, OVIS; the last is spelled as in the source."""
