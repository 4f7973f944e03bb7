"""Write videos of the procedural world in the YouTube-VIS layout; see ``--help``."""

from dense.data.world.command import main

if __name__ == "__main__":
    raise SystemExit(main())
