"""The systems, one package each; imported as ``dense.projects.<name>``.

``dvis``  video segmentation: MinVIS now; tracker and refiner build on it
"""
