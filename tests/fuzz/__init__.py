"""A mutation fuzzer: every reader of users' files gets thousands of damaged and hostile inputs.

``python tests/fuzz`` (``make fuzz``) runs the long form; ``test_fuzz.py`` the quick one.

``reader``          what a reader under test is, and how one input is judged (start here)
``annotations``     annotation and result files, label maps
``media``           pictures and videos
``weights``         safetensors, ``.pth``, ``.pkl``, ``.npz``, Flax, training states, metadata
``settings``        YAML configurations, model cards, lists of names, result lines
``invariants``      what must hold of a value that a reader returned
``byte_mutations``  flips, cuts, insertions, splices
``json_mutations``  types swapped, keys removed, NaN, huge numbers, deep nesting, broken run lengths
``file_mutations``  safetensors headers, zip members, pickle opcodes, lines of YAML
``readers``         all of them by name
``selftest``        one that misbehaves on purpose
``worker``          the process that reads, with a limit on its memory
``runner``          starts workers, gives each input its time, keeps what failed
``command``         the command line
"""
