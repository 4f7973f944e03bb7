"""Build file: pyproject.toml has everything about the package but its operators and its data files, which are here.

``DENSE_BUILD_OPS=0`` leaves the operators out: the PyTorch fallback serves until `dense build-ops` builds them.
``DENSE_CUDA=1`` builds the CUDA kernels also where no GPU is, ``DENSE_CUDA=0`` never (dense/ops/build.py).
"""

import importlib.util
import os
import shutil
import sys
from pathlib import Path

from setuptools import find_namespace_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
# pip asks for metadata with other commands (egg_info, dist_info, sdist): those must need neither torch nor a compiler.
BUILDING = {"bdist_wheel", "build", "build_ext", "develop", "editable_wheel", "install"} & set(sys.argv)


def operators():
    """Return (extension modules, command classes); both empty when nothing is built or torch is missing."""
    if not BUILDING or os.environ.get("DENSE_BUILD_OPS") == "0":
        return [], {}
    if importlib.util.find_spec("torch") is None:
        sys.stderr.write("dense: no torch in this build environment, operators left out. Later: dense build-ops\n")
        return [], {}
    # By path: importing dense.ops would load the operators that are to be built.
    spec = importlib.util.spec_from_file_location("dense_ops_build", ROOT / "dense" / "ops" / "build.py")
    build = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(ROOT))
    spec.loader.exec_module(build)
    return build.extensions(), {"build_ext": build.build_command()}


class BuildWithData(build_py):
    """Copies the configurations and the model cards into the wheel, as ``dense/share``; a checkout reads them in place."""

    def run(self):
        if self.editable_mode:
            super().run()
            return
        # Or files deleted since the last build would be packed.
        shutil.rmtree(Path(self.build_lib) / "dense", ignore_errors=True)
        super().run()
        share = Path(self.build_lib) / "dense" / "share"
        for pattern in (
            "constraints.txt",
            "requirements-detectron2.txt",
            "configs/**/*.yaml",
            "configs/**/*.json",
            "weights/*.md",
            "weights/*.json",
        ):
            for source in ROOT.glob(pattern):
                target = share / source.relative_to(ROOT)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)


modules, commands = operators()
setup(
    # Every folder of dense is a package, also those that hold only data; dense/projects is a link, which the finder follows.
    packages=find_namespace_packages(include=["dense", "dense.*"], exclude=["dense.share*", "*.__pycache__"]),
    package_data={"": ["*"]},
    exclude_package_data={
        "": ["*.so", "*.py[cod]", "_C.json", "_C_cuda.json"]
    },  # build_ext adds the binaries it built, and their records
    ext_modules=modules,
    cmdclass={**commands, "build_py": BuildWithData},
    options={"bdist_wheel": {"py_limited_api": "cp310"}} if modules else {},  # the binary holds no Python at all
    zip_safe=False,
)
