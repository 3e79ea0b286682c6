#!/bin/sh
# Build PyCUDA from its source package beside a CUDA toolkit, without a network:
#
#     tools/build_pycuda.sh pycuda-2026.1.tar.gz FOLDER [PYTHON]      then put FOLDER on PYTHONPATH
#
# PyCUDA asks for the toolkit's folder, for a libcuda.so to link with (drivers install libcuda.so.1 only) and for cuRAND,
# which rtau does not use. PYTHON needs setuptools, wheel and NumPy.
set -eu
package=$(realpath "$1") target=$(realpath -m "$2") python=${3:-python3}
toolkit=${CUDA_HOME:-/usr/local/cuda}
driver=${LIBCUDA:-$(ldconfig -p | sed -n 's/.*=> \(.*libcuda\.so\.1\)$/\1/p' | head -n 1)}
test -n "$driver" || driver=$(find /usr/local/nvidia /usr/lib -name libcuda.so.1 2>/dev/null | head -n 1)
test -n "$driver" || { echo "no libcuda.so.1: install the NVIDIA driver, or name the file in LIBCUDA" >&2; exit 1; }
test -f "$toolkit/include/cuda.h" || { echo "no $toolkit/include/cuda.h: name the CUDA toolkit's folder in CUDA_HOME" >&2; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tar -xzf "$package" -C "$work"
mkdir "$work/lib"
ln -s "$driver" "$work/lib/libcuda.so"
cd "$work"/pycuda-*
cat > siteconf.py <<EOF
CUDA_ROOT = "$toolkit"
CUDA_ENABLE_CURAND = False
CUDADRV_LIB_DIR = ["$work/lib"]
EOF
cat > parallel_setup.py <<EOF
# Nearly all files belong to one extension, and setuptools compiles those one after another.
import runpy
from multiprocessing.pool import ThreadPool
from os import cpu_count

import setuptools  # brings distutils
from distutils.ccompiler import CCompiler


def compile(self, sources, output_dir=None, macros=None, include_dirs=None, debug=False,
            extra_preargs=None, extra_postargs=None, depends=None):
    _, objects, extra_postargs, pp_opts, build = self._setup_compile(
        output_dir, macros, include_dirs, sources, depends, extra_postargs)
    cc_args = self._get_cc_args(pp_opts, debug, extra_preargs)
    with ThreadPool(cpu_count()) as pool:
        pool.map(lambda o: self._compile(o, *build[o], cc_args, extra_postargs, pp_opts), objects, chunksize=1)
    return objects


CCompiler.compile = compile
runpy.run_path("setup.py", run_name="__main__")
EOF
"$python" parallel_setup.py -q build_ext >build.log 2>&1 || { tail -n 30 build.log >&2; exit 1; }
"$python" -m pip install --quiet --no-index --no-deps --no-build-isolation --target "$target" .
