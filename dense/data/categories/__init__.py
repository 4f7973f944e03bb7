"""Tables of category names that are data, and which of them are base and which novel.

``lvis_v1.tsv``        the 1,203 categories of LVIS v1: id, frequency (r, c, f), name, synonyms between bars
``coco_48_17.json``    names of the COCO split with 48 base and 17 novel categories (Bansal et al., ECCV 2018)
``prompt_names.json``  names as a text encoder shall read them where spaces for underscores are not enough; yours to edit
``tables``             reading them: ``lvis_v1``, ``word_split``, ``prompt_names`` (start here)

The names of Objects365 are not here: its annotation file has them.
"""

from dense.data.categories.tables import SPLITS, NamedCategory, WordSplit, lvis_v1, prompt_names, word_split

__all__ = ["SPLITS", "NamedCategory", "WordSplit", "lvis_v1", "prompt_names", "word_split"]
