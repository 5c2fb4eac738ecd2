"""Builds the Cython kernels; everything else is in pyproject.toml.

Wheels have the stable ABI of CPython 3.11: one serves that version and all later ones. What is compiled in place is for
the Python that compiles it: Python would take such a file before one of the stable ABI that lies beside it.
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from glob import glob

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext
from setuptools.errors import CCompilerError, ExecError, PlatformError

ADVICE = "install them (Debian: apt-get install gcc python3-dev; macOS: xcode-select --install) and try again"
STABLE_ABI = sys.implementation.name == "cpython" and not sysconfig.get_config_var("Py_GIL_DISABLED")
"""Python without its lock has no stable ABI before 3.15."""


def missing_compiler() -> str | None:
    """The C compiler that would be called and is not there."""
    words = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()
    return words[0] if sys.platform != "win32" and not shutil.which(words[0]) else None


class BuildWheel(bdist_wheel):
    """A wheel of the stable ABI, in a folder of its own: nothing that was compiled for one version gets into it."""

    def finalize_options(self) -> None:
        if STABLE_ABI and "editable_wheel" not in self.distribution.commands:
            self.py_limited_api = "cp311"
            self.distribution.get_command_obj("build").build_base = "build/abi3"
            for extension in self.distribution.ext_modules:
                extension.py_limited_api = True
                extension.define_macros.append(("Py_LIMITED_API", "0x030B0000"))
                extension.extra_link_args = ["-Wl,-s"] if sys.platform == "linux" else []  # symbols are 9 tenths
        super().finalize_options()


class BuildKernels(build_ext):
    """Compiles with optimisation on all cores, and says in one line what is missing when there is no compiler."""

    def finalize_options(self) -> None:
        super().finalize_options()
        self.parallel = self.parallel or os.cpu_count()

    def build_extensions(self) -> None:
        msvc = self.compiler.compiler_type == "msvc"
        for extension in self.extensions:
            # -ffp-contract=off: decoding must round every multiplication and addition by itself, on every machine.
            extension.extra_compile_args = ["/O2"] if msvc else ["-O3", "-ffp-contract=off", "-fno-strict-aliasing"]
        try:
            super().build_extensions()
        except (CCompilerError, ExecError, PlatformError) as error:
            sys.exit(f"wcodec: the kernels need a C compiler and Python's headers ({error}); {ADVICE}")


if {"bdist_wheel", "editable_wheel", "build_ext", "build"} & set(sys.argv) and (missing := missing_compiler()):
    sys.exit(f"wcodec: the kernels need a C compiler and Python's headers (found no {missing}); {ADVICE}")

from Cython.Build import cythonize  # noqa: E402 - what is missing is said first

SOURCES = sorted(glob("wcodec/kernels/**/*.pyx", recursive=True))

setup(
    ext_modules=cythonize(
        [Extension(source.removesuffix(".pyx").replace("/", "."), [source]) for source in SOURCES],
        compiler_directives={"language_level": 3, "boundscheck": True, "wraparound": False, "cdivision": True},
        build_dir="build/cython",
    ),
    cmdclass={"build_ext": BuildKernels, "bdist_wheel": BuildWheel},
)
