# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""Messages made by protoc."""

import importlib.util
import subprocess


def messages(proto, folder, name):
    """The module of a file below `proto` ("offramp/v1/admin"), made in that folder."""
    subprocess.run(
        ["protoc", f"-I{proto}", f"--python_out={folder}", f"{name}.proto"], check=True
    )
    # By its path: a package of protoc's named "grpc" would hide the library.
    path = f"{folder}/{name}_pb2.py"
    spec = importlib.util.spec_from_file_location(name.replace("/", "_"), path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
