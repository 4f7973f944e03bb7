"""Turn a checkpoint into shipped weights and their model card; see --help."""

from dense.engine.publish import main

if __name__ == "__main__":
    raise SystemExit(main())
