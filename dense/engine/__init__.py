"""Training, evaluation of models, launching.

``command``     the ``train`` command line (start here)
``trainer``     one step at a time: data, losses, guard against NaN, optimizer, schedule
``optimizers``  parameter groups, gradient clipping
``schedules``   the learning rate's course
``state``       checkpoints that continue to the same numbers
``progress``    console, JSON lines, TensorBoard
``scoring``     run a model over its test sets and score it: ``video_scoring``, ``image_scoring`` by kind of data set,
            ``result_files`` after the results are written
``launch``      processes: one, several GPUs, torchrun
"""
