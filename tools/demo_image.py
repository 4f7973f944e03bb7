"""Segment pictures; see --help."""

from dense.inference.demo_image import main

if __name__ == "__main__":
    raise SystemExit(main())
