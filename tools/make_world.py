"""Write the procedural world: videos in the YouTube-VIS layout, or pictures in the layouts of COCO; see ``--help``."""

from dense.data.world.command import main

if __name__ == "__main__":
    raise SystemExit(main())
