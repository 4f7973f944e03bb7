"""Segment and track the objects of a video; see --help."""

from dense.inference.demo_video import main

if __name__ == "__main__":
    raise SystemExit(main())
