"""Open-vocabulary detection after DITO (Kim, Angelova, Kuo 2023/24): image-text pretraining through a detector's own heads.

``config``     configuration keys; ``building`` makes the parts from them
``vit``        the transformer: windowed and global blocks, shifted-window learning (start here)
``positions``  its learnt positions, resized or cropped
``pyramid``    levels of stride 4 to 32 from its map
``heads``      proposals, box embeddings, masks, classifier by text
``text``       tokenizers, text encoder, vocabularies
``pretrainer``      both stages of pretraining; ``pretraining_parts`` makes its parts, ``config_text`` has the keys
``region_sampler``  boxes drawn without labels
``detector``   all of it: finetuning (``finetuning``, ``labeling``, ``sampling``, ``detection_losses``) and inference
               (``proposals``, ``fusion``, ``results``); ``detector_config`` builds it
``boxes``, ``roi_align``, ``canvas``, ``vocabulary_rows``  what both use
"""

from dense.projects.dito.config import add_config
from dense.projects.dito.detector import OpenVocabularyDetector
from dense.projects.dito.heads import BoxHead, MaskHead, ProposalHead, cosine_logits
from dense.projects.dito.pretrainer import ImageTextPretrainer
from dense.projects.dito.pyramid import SimplePyramid
from dense.projects.dito.vit import VisionTransformer

__all__ = [
    "BoxHead",
    "ImageTextPretrainer",
    "MaskHead",
    "OpenVocabularyDetector",
    "ProposalHead",
    "SimplePyramid",
    "VisionTransformer",
    "add_config",
    "cosine_logits",
]
