# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""A sanitized plugin in a program that is not: the sanitizer's runtime has to be loaded first."""

import os
import subprocess

# The program is not ours: neither is what it has not freed when it ends.
OPTIONS = "detect_leaks=0:abort_on_error=0"


def runtime(plugin):
    """What to preload for that shared object; None when it is not sanitized."""
    names = subprocess.run(["nm", "-D", "--undefined-only", plugin], check=True, text=True,
                           capture_output=True).stdout
    if "__asan_init" not in names:
        return None
    needed = subprocess.run(["readelf", "-d", plugin], check=True, text=True,
                            capture_output=True).stdout
    if "libasan.so" in needed:  # gcc's is linked to it, and only comes too late
        compiler, name = "gcc", "libasan.so"
    else:
        compiler, name = "clang", "libclang_rt.asan-x86_64.so"
    return subprocess.run([compiler, f"-print-file-name={name}"], check=True, text=True,
                          capture_output=True).stdout.strip()


def environment(plugin, inherited):
    """What the program that loads the plugin needs in its environment, beside what it inherits."""
    library = runtime(plugin)
    if not library:
        return {}
    options = [inherited.get("ASAN_OPTIONS"), OPTIONS]
    return {"LD_PRELOAD": library, "ASAN_OPTIONS": ":".join(filter(None, options))}


def wrap(plugin, argv):
    """The command with that environment; what else is to be loaded before it comes behind."""
    found = environment(plugin, os.environ)
    if not found:
        return argv
    return ["env", f"ASAN_OPTIONS={found['ASAN_OPTIONS']}", "/bin/sh", "-c",
            'LD_PRELOAD="$0${LD_PRELOAD:+ $LD_PRELOAD}" exec "$@"', found["LD_PRELOAD"], *argv]
