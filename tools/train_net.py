"""Train a model, continue a run, or evaluate weights; see --help."""

from dense.engine.command import main

if __name__ == "__main__":
    raise SystemExit(main())
