"""The text side of DITO: from words and captions to embeddings.

``vocabulary``       ``Vocabulary``: what a detector is asked to find, as embeddings (start here)
``encoder``          ``TextEncoder``: the transformer that is trained with the image side
``open_clip_tower``  ``OpenClipText``: text towers of open_clip instead
``tokenizer``        SentencePiece models and tokenizer.json files
``training``         a small tokenizer from captions; ``command``: the same from the command line
``prompts``          sentence templates around a word
``cache``            embeddings on disk, of exactly these weights, tokenizer, templates and words
``embedding_files``  precomputed embeddings from .npy, .npz and .safetensors
``hard_captions``    captions with two words swapped, which are no longer true
"""

from dense.projects.dito.text.encoder import TextEncoder, TextTower
from dense.projects.dito.text.tokenizer import Tokenizer, load_tokenizer
from dense.projects.dito.text.vocabulary import Vocabulary

__all__ = ["TextEncoder", "TextTower", "Tokenizer", "Vocabulary", "load_tokenizer"]
