"""Data: annotation formats, data sets, transforms, mappers, loaders, and a procedural world.

``formats/``     readers that validate
``datasets/``    catalogue entries and category tables
``transforms/``  augmentations
``mappers/``     records to model inputs
``loaders/``     samplers and batches
``world/``       the procedural world, written in the formats of the real data sets
"""

__all__: list[str] = []
