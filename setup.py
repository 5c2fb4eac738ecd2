"""Builds the Cython kernels; everything else is in pyproject.toml."""

from __future__ import annotations

import os
import sys
from glob import glob

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CCompilerError, ExecError, PlatformError


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
            sys.exit(
                f"wcodec: the kernels need a C compiler and Python's headers ({error}); "
                "install them (Debian: apt-get install gcc python3-dev; macOS: xcode-select --install) and try again"
            )


SOURCES = sorted(glob("wcodec/kernels/**/*.pyx", recursive=True))

setup(
    ext_modules=cythonize(
        [Extension(source.removesuffix(".pyx").replace("/", "."), [source]) for source in SOURCES],
        compiler_directives={"language_level": 3, "boundscheck": True, "wraparound": False, "cdivision": True},
        build_dir="build/cython",
    ),
    cmdclass={"build_ext": BuildKernels},
)
