# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""A sanitized shared object (the plugin, the shim) in a program that is not: the sanitizer's runtime
has to be loaded first."""

import functools
import os
import subprocess

# The program is not ours: neither is what it has not freed when it ends.
OPTIONS = "detect_leaks=0:abort_on_error=0"


def output(*command):
    return subprocess.run(command, check=True, text=True, capture_output=True).stdout


@functools.cache
def environment(shared_object):
    """What the program that loads it needs in its environment, beside what it inherits."""
    if "__asan_init" not in output("nm", "-D", "--undefined-only", shared_object):
        return {}
    if "libasan.so" in output("readelf", "-d", shared_object):
        # gcc's is linked to it, and only comes too late
        library = output("gcc", "-print-file-name=libasan.so")
    else:
        library = output("clang", "-print-file-name=libclang_rt.asan-x86_64.so")
    options = [os.environ.get("ASAN_OPTIONS"), OPTIONS]
    return {"LD_PRELOAD": library.strip(), "ASAN_OPTIONS": ":".join(filter(None, options))}


def wrap(shared_object, argv):
    """The command with that environment; what else is to be loaded before it comes behind."""
    found = dict(environment(shared_object))
    library = found.pop("LD_PRELOAD", None)
    if not library:
        return argv
    return ["env", *[f"{name}={value}" for name, value in found.items()], "/bin/sh", "-c",
            'LD_PRELOAD="$0${LD_PRELOAD:+ $LD_PRELOAD}" exec "$@"', library, *argv]
